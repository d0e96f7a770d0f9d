/* Owns the text of --checkpoint-every. */
#include "cli/checkpoint_options.h"

#include <string.h>

#include "base/text.h"

const char ls_checkpoint_help[] = "write checkpoints into this folder, made when there is none: all that the "
                                  "run needs to go on after it was "
                                  "ended, on any ranks, threads and SIMD width, to the same bits. Also at "
                                  "the end of --epochs or --steps, and "
                                  "when a signal ends the run";
const char ls_checkpoint_every_help[] =
    "how often: a number of updates (500 or 500steps), or of time (10minutes, 30seconds, 2hours)";
const char ls_resume_help[] =
    "go on from the newest whole checkpoint in this folder with the options it was written with; the command "
    "line may change what does not change the result, and --epochs and --steps where the schedule does not "
    "depend on them. With --checkpoint of the same folder an empty one begins a run";
const char ls_resume_with_changes_help[] =
    "let --resume go on with options that change the result; state that they do away with or add begins anew";

static const struct {
    const char *word;
    double seconds; /* 0: updates */
} units[] = {{"", 0},        {"step", 0},     {"steps", 0},    {"updates", 0}, {"second", 1},
             {"seconds", 1}, {"minute", 60},  {"minutes", 60}, {"min", 60},    {"m", 60},
             {"hour", 3600}, {"hours", 3600}, {"h", 3600}};

static enum ls_code parse_every(const char *text, struct ls_checkpoint_rule *rule, struct ls_error *err)
{
    char digits[24];
    float number = 0;
    int64_t whole = 0;
    const size_t length = strspn(text, "0123456789.");
    snprintf(digits, sizeof digits, "%.*s", (int)(length < sizeof digits ? length : 0), text);
    const char *unit = text + length + strspn(text + length, " ");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].word) != 0)
            continue;
        if (units[i].seconds > 0 && ls_text_to_float(digits, &number) && number > 0 && number < 1e7f) {
            rule->every_s = (double)number * units[i].seconds;
            return LS_OK;
        }
        if (units[i].seconds == 0 && ls_text_to_int64(digits, &whole) && whole > 0) {
            rule->every_steps = whole;
            return LS_OK;
        }
    }
    return ls_fail(
        err, LS_USAGE,
        "--checkpoint-every '%.40s' is not allowed: give a whole number of updates from 1, as 500 or "
        "500steps, or a time above 0, as 10minutes, 30seconds or 2hours",
        text);
}

enum ls_code ls_checkpoint_options_apply(const struct ls_checkpoint_options *options,
                                         struct ls_checkpoint_rule *rule, struct ls_error *err)
{
    *rule = (struct ls_checkpoint_rule){.folder = options->folder ? options->folder : options->resume,
                                        .keep = options->keep};
    if (options->with_changes && !options->resume)
        return ls_fail(err, LS_USAGE, "--resume-with-changes goes with --resume DIR");
    if (!rule->folder && options->every)
        return ls_fail(err, LS_USAGE, "--checkpoint-every goes with --checkpoint DIR");
    return parse_every(options->every ? options->every : "10minutes", rule, err);
}
