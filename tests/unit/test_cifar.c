/* The binary CIFAR files: folders and files, both labels, the names of classes, and what is broken. */
#include <criterion/criterion.h>

#include "clean.h"
#include "files.h"
#include "streams.h"

TestSuite(cifar, .timeout = 60);

enum { PIXELS = 3072 };

/* n records with label bytes (seed + i) % n_classes (and % n_fine), and pixels that tell file and place. */
static void write_records(const struct folder *folder, const char *name, int seed, int n, int n_fine)
{
    static uint8_t bytes[10 * (PIXELS + 2)];
    uint8_t *at = bytes;
    for (int i = 0; i < n; i++) {
        *at++ = (uint8_t)((seed + i) % (n_fine ? 20 : 10));
        if (n_fine)
            *at++ = (uint8_t)((seed + 3 * i) % n_fine);
        for (int k = 0; k < PIXELS; k++)
            *at++ = (uint8_t)(seed * 31 + i * 7 + k);
    }
    write_file(in_folder(folder, name).path, bytes, (size_t)(at - bytes));
}

static struct folder cifar10_folder(void)
{
    struct folder folder = folder_create();
    char name[40];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        write_records(&folder, name, i, i + 1, 0);
    }
    write_records(&folder, "test_batch.bin", 6, 3, 0);
    static const char names[] = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    write_file(in_folder(&folder, "batches.meta.txt").path, names, sizeof names - 1);
    return folder;
}

CLEAN_TEST(cifar, a_folder_of_cifar10)
{
    struct folder folder = cifar10_folder();
    char spec[200];
    snprintf(spec, sizeof spec, "cifar10:%s", folder.path);
    struct ls_stream stream = stream_ok(spec);
    cr_expect(stream.facts.n_samples == 20 && stream.facts.n_classes == 10 && stream.facts.has_test);
    cr_expect(stream.facts.n_dims == 3 && stream.facts.dims[0] == 3 && stream.facts.dims[2] == 32);
    cr_assert_eq(stream.facts.classes.n, 10);
    cr_expect_str_eq(stream.facts.classes.name[9], "truck");
    ls_stream_close(&stream);
    struct samples found = samples_of(spec);
    for (int file = 1, at = 0; file <= 5; file++)
        for (int i = 0; i < file + 1; i++, at++) {
            cr_expect_eq(found.labels[at], (file + i) % 10);
            cr_expect_eq(found.x[at * PIXELS + 5], (float)(uint8_t)(file * 31 + i * 7 + 5) / 255.0f);
        }
    samples_release(&found);
    expect_seekable(spec);
    struct ls_data data;
    struct ls_error err = {.text = ""};
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK, "%s", err.text);
    cr_expect(data.train.n_samples == 20 && data.test.n_samples == 3);
    cr_expect_eq(data.test.labels[2], 8);
    ls_data_release(&data);
    folder_destroy(&folder);
}

CLEAN_TEST(cifar, cifar100_has_two_labels)
{
    struct folder folder = folder_create();
    char spec[300];
    write_records(&folder, "train.bin", 2, 9, 100);
    write_records(&folder, "test.bin", 3, 2, 100);
    for (int coarse = 0; coarse < 2; coarse++) {
        snprintf(spec, sizeof spec, "cifar100:%s,label=%s", folder.path, coarse ? "coarse" : "fine");
        struct samples found = samples_of(spec);
        cr_expect(found.facts.n_samples == 9 && found.facts.n_classes == (coarse ? 20 : 100));
        cr_expect_eq(found.labels[4], coarse ? 6 : 14);
        cr_expect_eq(found.x[4 * PIXELS], (float)(2 * 31 + 28) / 255.0f);
        samples_release(&found);
        expect_seekable(spec);
    }
    snprintf(spec, sizeof spec, "cifar100:%s/test.bin,%s/train.bin", folder.path, folder.path);
    struct samples both = samples_of(spec);
    cr_expect(both.facts.n_samples == 11 && !both.facts.has_test && both.labels[0] == 3);
    samples_release(&both);
    folder_destroy(&folder);
}

CLEAN_TEST(cifar, refused)
{
    static const struct {
        enum ls_code code;
        const char *format, *parts;
    } cases[] = {
        {LS_FAILED, "cifar10:%s/short.bin", "short.bin\" has 3072 bytes|whole records of 3073"},
        {LS_FAILED, "cifar10:%s/empty.bin", "has 0 bytes"},
        {LS_FAILED, "cifar10:%s/label.bin", "byte 3073: label 10 of record 1|0 to 9"},
        {LS_FAILED, "cifar100:%s/fine.bin", "byte 1: fine label 100 of record 0|0 to 99"},
        {LS_FAILED, "cifar10:%s/nothing.bin", "cannot open|nothing.bin"},
        {LS_FAILED, "cifar10:%s", "cannot open|data_batch_1.bin"},
        {LS_FAILED, "cifar10:/dev/zero,%s/label.bin", "not a regular file"},
        {LS_USAGE, "cifar10:%s,label=coarse", "label=|part"},
        {LS_USAGE, "cifar100:%s,label=both", "label=both|fine|coarse"},
        {LS_USAGE, "cifar10:%s,part=val", "part=val|train and test"},
        {LS_USAGE, "cifar10:%s/label.bin,part=test", "part=test|folder"},
        {LS_USAGE, "cifar10:%s,more.bin", "2 files"},
    };
    static uint8_t bytes[2 * (PIXELS + 2)];
    struct folder folder = folder_create();
    write_file(in_folder(&folder, "short.bin").path, bytes, PIXELS);
    write_file(in_folder(&folder, "empty.bin").path, bytes, 0);
    bytes[PIXELS + 1] = 10;
    write_file(in_folder(&folder, "label.bin").path, bytes, 2 * (PIXELS + 1));
    bytes[1] = 100;
    write_file(in_folder(&folder, "fine.bin").path, bytes, PIXELS + 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char spec[300];
        const char *gap = strstr(cases[i].format, "%s");
        snprintf(spec, sizeof spec, "%.*s%s%s", (int)(gap - cases[i].format), cases[i].format, folder.path,
                 gap + 2);
        expect_stream_refused(cases[i].code, spec, cases[i].parts);
    }
    folder_destroy(&folder);
}
