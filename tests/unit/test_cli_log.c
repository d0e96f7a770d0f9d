/* The log that a run writes. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_checks.h"
#include "files.h"

static json_t *line_of(char **text, const char *path)
{
    json_error_t where;
    char *end = strchr(*text, '\n');
    cr_assert_not_null(end, "%s: the last line has no end: %s", path, *text);
    *end = '\0';
    json_t *line = json_loads(*text, JSON_REJECT_DUPLICATES, &where);
    cr_assert_not_null(line, "%s: %s: %s", path, where.text, *text);
    cr_assert(json_is_string(json_object_get(line, "event")));
    *text = end + 1;
    return line;
}

static const char *event(const json_t *line)
{
    return json_string_value(json_object_get(line, "event"));
}

/* The loss in a row of the table, as the binary32 that its digits say. */
static float printed_loss(const char *out, int epoch)
{
    char beginning[16];
    snprintf(beginning, sizeof beginning, "\n%5d ", epoch);
    const char *row = strstr(out, beginning);
    cr_assert_not_null(row, "no row of epoch %d in\n%s", epoch, out);
    float loss = NAN;
    cr_assert(sscanf(row, "%*d %*d %f", &loss) == 1);
    return loss;
}

Test(cli, log_lines_are_json_with_numbers_that_round_trip, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place log = in_folder(&folder, "run.jsonl");
    write_file(log.path, "an older log\n", 13);
    const struct ls_outcome *o = lockstep(1, "train --epochs 3 --hash-every 10 --log %s", log.path);
    check_status(o, 0, "train");
    size_t n;
    char *text = read_file(log.path, &n), *at = text;
    int epochs = 0, steps = 0;
    json_t *line = line_of(&at, log.path);
    cr_assert_str_eq(event(line), "start");
    cr_assert_str_eq(json_string_value(json_object_get(line, "net")), "dense 128, relu, dense 10");
    cr_assert_str_eq(json_string_value(json_object_get(line, "learning_rate")), "0.1");
    cr_assert(json_integer_value(json_object_get(line, "parameters")) == 9610);
    json_decref(line);
    do {
        line = line_of(&at, log.path);
        if (strcmp(event(line), "epoch") == 0) {
            const float loss = (float)json_real_value(json_object_get(line, "loss"));
            epochs++;
            cr_assert(json_integer_value(json_object_get(line, "epoch")) == epochs);
            cr_assert(json_integer_value(json_object_get(line, "step")) == 24 * epochs);
            cr_assert(loss == printed_loss(o->out, epochs), "epoch %d: %a in the log, %a printed", epochs,
                      (double)loss, (double)printed_loss(o->out, epochs));
            has(o->out, json_string_value(json_object_get(line, "hash")), "the hash of an epoch");
            cr_assert(json_object_size(json_object_get(line, "tensors")) == 4);
        } else if (strcmp(event(line), "step") == 0) {
            steps++;
            cr_assert(json_integer_value(json_object_get(line, "step")) == 10 * steps);
        } else {
            cr_assert_str_eq(event(line), "end");
            cr_assert_str_eq(json_string_value(json_object_get(line, "outcome")), "finished");
        }
        json_decref(line);
    } while (*at);
    cr_assert(epochs == 3 && steps == 7, "%d epochs, %d steps", epochs, steps);
    free(text);
    folder_destroy(&folder);
}
