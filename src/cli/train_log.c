/* Owns where a log is cut when its run goes on from a checkpoint, so that it ends as the log of a run that
 * was never interrupted, but for times and the lines "resume". */
#include "cli/train_log.h"

#include <jansson.h>
#include <string.h>

/* The first line tells the same run, but for the name of its data. */
static int is_this_run(const struct ls_train_report *report, const struct ls_runlog_line *line)
{
    if (!line->event || strcmp(line->event, "start") != 0 || line->end_bytes < 0)
        return 0;
    const char *net = json_string_value(json_object_get(line->fields, "net"));
    int same = net && strcmp(net, report->net->text) == 0;
    for (int i = 0; i < report->facts->n; i++) {
        const char *value = json_string_value(json_object_get(line->fields, report->facts->fact[i].key));
        same &= strcmp(report->facts->fact[i].key, "data") == 0 ||
                (value && strcmp(value, report->facts->fact[i].text) == 0);
    }
    return same;
}

/* Whether the line was written before the checkpoint.  An epoch's line comes after its last update's. */
static int is_before(const struct ls_runlog_line *line, int64_t step)
{
    const json_t *at = json_object_get(line->fields, "step");
    if (line->end_bytes < 0 || strcmp(line->event, "end") == 0 || !json_is_integer(at))
        return 0;
    return json_integer_value(at) < step ||
           (json_integer_value(at) == step && strcmp(line->event, "epoch") != 0);
}

/* How much stays: lines and bytes. */
static void find_cut(const struct ls_train_report *report, struct ls_runlog_reader *reader,
                     ptrdiff_t *n_lines, int64_t *bytes)
{
    struct ls_error err;
    struct ls_runlog_line line;
    if (ls_runlog_next(reader, &line, &err) != LS_OK || !is_this_run(report, &line))
        return;
    do {
        *n_lines = line.number;
        *bytes = line.end_bytes;
    } while (ls_runlog_next(reader, &line, &err) == LS_OK && line.event &&
             is_before(&line, report->resumed->step));
}

void ls_train_log_continue(struct ls_train_report *report)
{
    struct ls_runlog_reader *reader = NULL;
    struct ls_error err = {.code = LS_OK};
    ptrdiff_t n_lines = 0;
    int64_t bytes = 0;
    if (!report->log)
        return;
    if (ls_runlog_reader_open(&reader, ls_runlog_path(report->log), &err) == LS_OK)
        find_cut(report, reader, &n_lines, &bytes);
    ls_runlog_reader_close(&reader);
    if (n_lines == 0)
        return;
    report->log_continues = 1;
    enum ls_code code = ls_runlog_keep(report->log, n_lines, bytes, &err);
    if (code == LS_OK) {
        ls_runlog_begin(report->log, "resume");
        ls_runlog_integer(report->log, "step", report->resumed->step);
        ls_runlog_integer(report->log, "ranks", ls_comm_size(report->session->comm));
        ls_runlog_integer(report->log, "threads", report->session->threads);
        ls_runlog_text(report->log, "isa", report->session->ops->name);
        ls_runlog_text(report->log, "host", ls_comm_host(report->session->comm));
        code = ls_runlog_end(report->log, &err);
    }
    if (code != LS_OK && report->failure.code == LS_OK)
        report->failure = err;
}
