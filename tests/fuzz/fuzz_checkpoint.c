/* A checkpoint: opened as --resume does, and then a small run made what it says.  The input is the header's
 * text behind the checksum, a zero byte, and the data; length and checksum are made right, or nothing else of
 * the file would ever be looked at. */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "train/checkpoint.h"
#include "train/run.h"

enum {
    BEGINNING = sizeof LS_SEAL_BEGINNING - 1,
    DIGITS = LS_HASH_TEXT - 1,
    FLOATS = 64,
    MOST_BYTES = 1 << 16
};

/* The sealed file; returns its bytes. */
static size_t seal(uint8_t file[MOST_BYTES], const uint8_t *bytes, size_t n)
{
    n = n < MOST_BYTES - 8 - BEGINNING - DIGITS ? n : MOST_BYTES - 8 - BEGINNING - DIGITS;
    const uint8_t *end = n ? memchr(bytes, '\0', n) : NULL;
    const size_t text = end ? (size_t)(end - bytes) : n, data = end ? n - text - 1 : 0;
    const uint64_t header = BEGINNING + DIGITS + text;
    uint8_t *at = file;
    memcpy(at, &header, 8);
    memcpy(at += 8, LS_SEAL_BEGINNING, BEGINNING);
    memset(at += BEGINNING, '0', DIGITS);
    uint8_t *digits = at;
    at += DIGITS;
    if (text > 0)
        memcpy(at, bytes, text);
    if (data > 0)
        memcpy(at + text, end + 1, data);
    const size_t total = 8 + header + data;
    char hash[LS_HASH_TEXT];
    ls_hash_text(ls_hash_bytes(file, total), hash);
    memcpy(digits, hash, DIGITS);
    return total;
}

/* Momentum, and an average of the weights by turns. */
static void restore(const struct ls_checkpoint_source *source, int averaged)
{
    static const ptrdiff_t width = 3;
    static float parameters[FLOATS], good[FLOATS], average[FLOATS];
    const struct ls_train_config config = {.resume = source, .batch = source->with_changes ? 2 : 1};
    const struct ls_data data = {.train = {.n_samples = 3}};
    struct ls_optimizer_rule rule = ls_optimizer_defaults(LS_SGD);
    struct ls_net net;
    struct ls_error err = {.code = LS_OK};
    rule.momentum = 0.9f;
    fuzz_require(ls_net_create(&net, "dense 2", ls_shape_of(1, &width), &err) == LS_OK &&
                     net.n_floats <= FLOATS,
                 "no net");
    struct ls_run run = {
        .config = &config, .net = &net, .data = &data, .parameters = parameters, .good = good};
    run.rate.base = 0.5f; /* the corpus's */
    run.average.flat = averaged ? average : NULL;
    run.average.n = net.n_floats;
    fuzz_require(ls_optimizer_create(&run.optimizer, &rule, net.tensors, net.n_tensors, net.n_floats, &err) ==
                     LS_OK,
                 "no optimizer");
    const enum ls_code code = ls_run_restore(&run, &err);
    fuzz_require_message(code, &err);
    if (code == LS_OK)
        fuzz_require(run.step >= 0 && run.epoch >= 0 && run.optimizer.updates >= 0 && run.position >= 0 &&
                         run.position < data.train.n_samples + config.batch &&
                         run.position % config.batch == 0,
                     "a count below 0, or a place where no update begins");
    ls_optimizer_release(&run.optimizer);
    ls_net_release(&net);
}

FUZZ_TARGET(checkpoint)
{
    static uint8_t file[MOST_BYTES];
    struct ls_checkpoint_source source;
    struct ls_model model;
    struct ls_error err = {.code = LS_OK};
    fuzz_file(0, file, seal(file, bytes, n));
    fuzz_alias(0, ls_checkpoint_path("run", 1).text);
    enum ls_code code = ls_checkpoint_source_open(&source, "run", 1, &err);
    fuzz_require_message(code, &err);
    if (code == LS_OK) {
        source.with_changes = n % 2 == 0;
        restore(&source, n % 3 == 0);
        if (n % 8 == 0) { /* as eval does; the target "model" does little else */
            code = ls_model_load(&model, source.path.text, &err);
            fuzz_require_message(code, &err);
            ls_model_release(&model);
        }
    }
    ls_checkpoint_source_release(&source);
}
