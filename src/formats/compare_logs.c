/* Owns the comparison of two run logs, event by event. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "formats/compare.h"
#include "formats/quote.h"
#include "formats/runlog.h"

/* What the contract promises of an event besides its tensors, in the order in which a difference spreads. */
static const char *const results[] = {"loss",
                                      "test_loss",
                                      "test_accuracy",
                                      "test_rmse",
                                      "validation_loss",
                                      "validation_accuracy",
                                      "validation_rmse",
                                      "hash"};
enum { N_RESULTS = sizeof results / sizeof *results };

/* One side: its log and the step or epoch it is at. */
struct side {
    const char *path;
    struct ls_runlog_reader *reader;
    struct ls_runlog_line line; /* line.event == NULL: at the end */
    int64_t step, epoch;        /* of the line; epoch is -1 when it has none */
};

struct logs {
    struct side side[2];
    FILE *out;
    int64_t n_steps, n_epochs, last_step; /* that were equal */
    struct ls_quoted last_hash;
};

/* --- one event --- */

static enum ls_code refuse(const struct side *side, const char *key, const json_t *value, const char *allowed,
                           struct ls_error *err)
{
    return ls_fail(err, LS_FAILED, "'%s:%td': %s is %s; allowed is %s", side->path, side->line.number, key,
                   ls_json_kind(value), allowed);
}

static enum ls_code read_integer(const struct side *side, const char *key, int64_t *integer,
                                 struct ls_error *err)
{
    const json_t *value = json_object_get(side->line.fields, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return refuse(side, key, value, "a whole number from 0", err);
    *integer = json_integer_value(value);
    return LS_OK;
}

static enum ls_code check_event(struct side *side, struct ls_error *err)
{
    side->epoch = -1;
    if (read_integer(side, "step", &side->step, err) != LS_OK ||
        (strcmp(side->line.event, "epoch") == 0 && read_integer(side, "epoch", &side->epoch, err) != LS_OK))
        return LS_FAILED;
    for (int r = 0; r < N_RESULTS; r++) {
        const json_t *value = json_object_get(side->line.fields, results[r]);
        if (value && !json_is_number(value) && !json_is_string(value))
            return refuse(side, results[r], value, "a number or a string", err);
    }
    json_t *tensors = json_object_get(side->line.fields, "tensors");
    if (tensors && !json_is_object(tensors))
        return refuse(side, "tensors", tensors, "an object of hashes", err);
    const char *name;
    json_t *hash;
    json_object_foreach (tensors, name, hash)
        if (!json_is_string(hash))
            return refuse(side, "a hash in tensors", hash, "a string", err);
    return LS_OK;
}

/* Reads on to the next step or epoch, or the end. */
static enum ls_code next_event(struct side *side, struct ls_error *err)
{
    do {
        if (ls_runlog_next(side->reader, &side->line, err) != LS_OK)
            return LS_FAILED;
        if (!side->line.event)
            return LS_OK;
    } while (strcmp(side->line.event, "step") != 0 && strcmp(side->line.event, "epoch") != 0);
    return check_event(side, err);
}

/* --- comparing --- */

/* Numbers by their bits, so 0 and -0 differ; they are never NaN, which logs have as text. */
static int same_value(const json_t *a, const json_t *b)
{
    if (json_is_string(a) && json_is_string(b))
        return strcmp(json_string_value(a), json_string_value(b)) == 0;
    if (!json_is_number(a) || !json_is_number(b))
        return a == b; /* both missing */
    const double x = json_number_value(a), y = json_number_value(b);
    return memcmp(&x, &y, sizeof x) == 0;
}

/* The first tensor, in the first log's order, whose hash differs or is missing on one side; NULL when there
 * is none. */
static const char *find_tensor(const struct logs *logs)
{
    json_t *a = json_object_get(logs->side[0].line.fields, "tensors");
    json_t *b = json_object_get(logs->side[1].line.fields, "tensors");
    const char *name;
    json_t *hash;
    json_object_foreach (a, name, hash)
        if (!same_value(hash, json_object_get(b, name)))
            return name;
    json_object_foreach (b, name, hash)
        if (!json_object_get(a, name))
            return name;
    return NULL;
}

static const char *find_result(const struct logs *logs)
{
    for (int r = 0; r < N_RESULTS; r++)
        if (!same_value(json_object_get(logs->side[0].line.fields, results[r]),
                        json_object_get(logs->side[1].line.fields, results[r])))
            return results[r];
    return NULL;
}

/* --- printing --- */

static void print_event(FILE *out, const struct side *side)
{
    if (side->epoch >= 0)
        fprintf(out, "epoch %" PRId64 " (step %" PRId64 ")", side->epoch, side->step);
    else
        fprintf(out, "step %" PRId64, side->step);
}

static void print_value(FILE *out, const char *name, const json_t *value)
{
    fprintf(out, "   %s ", name);
    if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%.9g", json_real_value(value));
    else
        fprintf(out, "%s", value ? ls_quote(json_string_value(value)).text : "(not logged)");
}

/* "  FILE:LINE   loss X   hash H" and what differs, if it is neither. */
static void print_side(FILE *out, const struct side *side, const char *tensor, const char *result)
{
    const json_t *fields = side->line.fields;
    fprintf(out, "  %s:%td", side->path, side->line.number);
    if (tensor)
        print_value(out, ls_quote(tensor).text, json_object_get(json_object_get(fields, "tensors"), tensor));
    else if (strcmp(result, "loss") != 0 && strcmp(result, "hash") != 0)
        print_value(out, result, json_object_get(fields, result));
    print_value(out, "loss", json_object_get(fields, "loss"));
    print_value(out, "hash", json_object_get(fields, "hash"));
    fprintf(out, "\n");
}

static enum ls_code print_difference(const struct logs *logs, const char *tensor, const char *result)
{
    fprintf(logs->out, "different: ");
    print_event(logs->out, &logs->side[0]);
    fprintf(logs->out, tensor ? ", tensor '%s'\n" : ", %s\n", tensor ? ls_quote(tensor).text : result);
    for (int i = 0; i < 2; i++)
        print_side(logs->out, &logs->side[i], tensor, result);
    return LS_DIFFERENT;
}

/* Both logs are at an event, but not at the same one; or one is at its end. */
static enum ls_code print_parting(const struct logs *logs)
{
    fprintf(logs->out, "different: ");
    if (logs->n_steps + logs->n_epochs > 0)
        fprintf(logs->out, "after step %" PRId64 " the logs go on differently\n", logs->last_step);
    else
        fprintf(logs->out, "the logs begin differently\n");
    for (int i = 0; i < 2; i++) {
        const struct side *side = &logs->side[i];
        fprintf(logs->out, "  %s:%td   ", side->path, side->line.number);
        if (side->line.event)
            print_event(logs->out, side);
        else
            fprintf(logs->out, "the log ends");
        fprintf(logs->out, "\n");
    }
    return LS_DIFFERENT;
}

static enum ls_code print_identical(const struct logs *logs, struct ls_error *err)
{
    if (logs->n_steps + logs->n_epochs == 0)
        return ls_fail(err, LS_FAILED,
                       "neither '%s' nor '%s' has a step or an epoch: there is nothing to compare",
                       logs->side[0].path, logs->side[1].path);
    fprintf(logs->out, "identical: %" PRId64 " steps and %" PRId64 " epochs, the last at step %" PRId64,
            logs->n_steps, logs->n_epochs, logs->last_step);
    fprintf(logs->out, logs->last_hash.text[0] ? ", hash %s\n" : ", without hashes%s\n",
            logs->last_hash.text);
    return LS_OK;
}

/* --- both logs --- */

static void note_equal(struct logs *logs)
{
    const struct side *side = &logs->side[0];
    const char *hash = json_string_value(json_object_get(side->line.fields, "hash"));
    logs->n_epochs += side->epoch >= 0;
    logs->n_steps += side->epoch < 0;
    logs->last_step = side->step;
    if (hash)
        logs->last_hash = ls_quote(hash);
}

static enum ls_code compare_open(struct logs *logs, struct ls_error *err)
{
    const struct side *a = &logs->side[0], *b = &logs->side[1];
    for (;;) {
        if (next_event(&logs->side[0], err) != LS_OK || next_event(&logs->side[1], err) != LS_OK)
            return LS_FAILED;
        if (!a->line.event && !b->line.event)
            return print_identical(logs, err);
        if (!a->line.event || !b->line.event || a->step != b->step || a->epoch != b->epoch)
            return print_parting(logs);
        const char *tensor = find_tensor(logs);
        const char *result = find_result(logs);
        if (tensor || result)
            return print_difference(logs, tensor, result);
        note_equal(logs);
    }
}

enum ls_code ls_compare_logs(const char *a, const char *b, FILE *out, struct ls_error *err)
{
    struct logs logs = {.side = {{.path = a}, {.path = b}}, .out = out};
    enum ls_code code = LS_OK;
    for (int i = 0; i < 2 && code == LS_OK; i++)
        code = ls_runlog_reader_open(&logs.side[i].reader, logs.side[i].path, err);
    if (code == LS_OK)
        code = compare_open(&logs, err);
    for (int i = 0; i < 2; i++)
        ls_runlog_reader_close(&logs.side[i].reader);
    return code;
}
