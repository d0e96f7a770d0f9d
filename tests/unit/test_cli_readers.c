/* Models that others read: Python recomputes their predictions. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cli_checks.h"
#include "data/dataset.h"
#include "files.h"

static struct ls_error err;

static void write_digits(const char *path)
{
    struct ls_data data;
    float x[64];
    cr_assert(ls_data_open(&data, "digits", NULL, &err) == LS_OK, "%s", err.text);
    FILE *csv = fopen(path, "w");
    for (int64_t i = 0; i < data.test.n_samples; i++) {
        ls_dataset_gather(&data.test, &ls_ops_serial, 1, &i, x, NULL, NULL);
        for (int k = 0; k < 64; k++)
            fprintf(csv, k ? ",%.9g" : "%.9g", (double)x[k]);
        fprintf(csv, "\n");
    }
    cr_assert_eq(fclose(csv), 0);
    ls_data_release(&data);
}

/* A Python that can import the module, or NULL: the one that scripts/test.sh makes with packages of PyPI,
 * Debian's, or the one in the PATH. */
static const char *python_with(const char *module)
{
    static const char *const programs[] = {"build/venv/bin/python3", "/usr/bin/python3", "python3"};
    static struct ls_outcome outcome;
    char import[100];
    snprintf(import, sizeof import, "import %s", module);
    for (int i = 0; i < 3; i++)
        if (ls_launch(&outcome, 60, NULL, LS_ARGV(programs[i], "-c", import)) == 0)
            return programs[i];
    return NULL;
}

/* Trains nets with every layer and lets Python recompute their predictions. */
static void check_with_python(const char *python, const char *options)
{
    static const char *const nets[] = {"dense 24, relu, dense 10",
                                       "dense 17 nobias, tanh, dense 13, sigmoid, dense 10"};
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st"), images = in_folder(&folder, "images.csv"),
                       predictions = in_folder(&folder, "p.csv");
    write_digits(images.path);
    for (int i = 0; i < 2; i++) {
        static struct ls_outcome outcome;
        char command[2000];
        RUN("train --net '%s' --epochs 4 --lr 0.2 --quiet --save %s", nets[i], model.path);
        RUN("predict %s >%s", model.path, predictions.path);
        snprintf(command, sizeof command, "%s tests/cli/check_safetensors.py %s %s %s %s", python, options,
                 model.path, images.path, predictions.path);
        ls_launch(&outcome, 60, NULL, LS_ARGV("sh", "-c", command));
        cr_assert(outcome.status == 0 && strstr(outcome.out, "297 predictions agree"), "%s: status %d\n%s%s",
                  nets[i], outcome.status, outcome.out, outcome.err);
    }
    folder_destroy(&folder);
}

Test(cli, numpy_recomputes_the_predictions, .timeout = LIMIT_S)
{
    const char *python = python_with("numpy");
    if (!python)
        SKIP("numpy cannot be imported: apt-get install python3-numpy");
    check_with_python(python, "--own-parser");
}

Test(cli, the_safetensors_package_reads_the_models, .timeout = LIMIT_S)
{
    const char *python = python_with("safetensors.numpy");
    if (!python)
        SKIP("the Python packages safetensors and numpy cannot be imported: make test installs them into "
             "build/venv");
    check_with_python(python, "");
}
