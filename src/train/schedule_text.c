/* Owns schedules as text: one table of settings, read by the parser, the messages and the formatter. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "train/schedule.h"

static const char *const kinds[] = {"constant", "step",     "multistep", "exponential", "polynomial",
                                    "cosine",   "onecycle", "plateau",   NULL};
static const char *const anneals[] = {"cosine", "linear", NULL};

enum setting_type { NUMBER, WHOLE, SPAN, SPANS, ANNEAL };

/* One setting of one kind.  A default of NULL: it must be given. */
struct setting {
    enum ls_schedule_kind kind;
    const char *name;
    enum setting_type type;
    size_t offset; /* in struct ls_schedule */
    const char *usual;
    float least, most;
};

#define FIELD(name) offsetof(struct ls_schedule, name)

static const struct setting settings[] = {
    {LS_SCHEDULE_STEP, "every", SPAN, FIELD(every), NULL, 0, 0},
    {LS_SCHEDULE_STEP, "factor", NUMBER, FIELD(factor), "0.1", 0, 1e6f},
    {LS_SCHEDULE_MULTISTEP, "at", SPANS, FIELD(at), NULL, 0, 0},
    {LS_SCHEDULE_MULTISTEP, "factor", NUMBER, FIELD(factor), "0.1", 0, 1e6f},
    {LS_SCHEDULE_EXPONENTIAL, "factor", NUMBER, FIELD(factor), NULL, 0, 1e6f},
    {LS_SCHEDULE_EXPONENTIAL, "every", SPAN, FIELD(every), "1", 0, 0},
    {LS_SCHEDULE_POLYNOMIAL, "power", NUMBER, FIELD(power), "1", 0, 1e6f},
    {LS_SCHEDULE_POLYNOMIAL, "end", NUMBER, FIELD(end), "0", 0, 1e30f},
    {LS_SCHEDULE_COSINE, "min", NUMBER, FIELD(least), "0", 0, 1e30f},
    {LS_SCHEDULE_ONECYCLE, "peak-at", NUMBER, FIELD(peak_at), "0.3", 0, 1},
    {LS_SCHEDULE_ONECYCLE, "start", NUMBER, FIELD(start), "0.04", 0, 1e6f},
    {LS_SCHEDULE_ONECYCLE, "end", NUMBER, FIELD(end), "1e-4", 0, 1e6f},
    {LS_SCHEDULE_ONECYCLE, "anneal", ANNEAL, FIELD(linear), "cosine", 0, 0},
    {LS_SCHEDULE_PLATEAU, "factor", NUMBER, FIELD(factor), "0.1", 0, 1},
    {LS_SCHEDULE_PLATEAU, "patience", WHOLE, FIELD(patience), "10", 0, 1e9f},
    {LS_SCHEDULE_PLATEAU, "threshold", NUMBER, FIELD(threshold), "1e-4", 0, 1},
    {LS_SCHEDULE_PLATEAU, "min", NUMBER, FIELD(least), "0", 0, 1e30f},
};

enum { N_SETTINGS = sizeof settings / sizeof settings[0], MOST_SETTINGS = 5 };

static void *field(struct ls_schedule *schedule, const struct setting *setting)
{
    return (char *)schedule + setting->offset;
}

static const void *const_field(const struct ls_schedule *schedule, const struct setting *setting)
{
    return (const char *)schedule + setting->offset;
}

enum ls_code ls_span_parse(struct ls_span *span, const char *text, struct ls_error *err)
{
    char number[40] = "";
    const size_t n = strlen(text);
    int64_t updates = 0;
    span->in_updates = n > 0 && text[n - 1] == 'u';
    if (n < sizeof number)
        memcpy(number, text, span->in_updates ? n - 1 : n);
    const int whole = span->in_updates ? ls_text_to_int64(number, &updates) && updates <= 1 << 24 : 1;
    if (!whole || !ls_text_to_float(number, &span->length) || !(span->length >= 0.0f) || span->length > 1e9f)
        return ls_fail(err, LS_USAGE,
                       "'%.60s' is no length: give epochs, such as 5 or 0.5, or updates, such as 500u (at "
                       "most 16777216u)",
                       text);
    return LS_OK;
}

/* 30, where the fewest digits would be 3e+01. */
static const char *plain_number(float value, char text[LS_FLOAT_TEXT])
{
    if (value >= 10.0f && value < 1e7f && (float)(int32_t)value == value)
        snprintf(text, LS_FLOAT_TEXT, "%d", (int)value);
    else
        ls_text_of_float(value, text);
    return text;
}

const char *ls_span_format(struct ls_span span, char text[LS_SPAN_TEXT])
{
    char number[LS_FLOAT_TEXT];
    if (span.in_updates) /* whole, so no exponent that the parser would refuse */
        snprintf(text, LS_SPAN_TEXT, "%.0fu", (double)span.length);
    else
        snprintf(text, LS_SPAN_TEXT, "%s", plain_number(span.length, number));
    return text;
}

/* "30,60,80" in ascending order. */
static enum ls_code read_spans(struct ls_schedule *schedule, const char *value, struct ls_error *err)
{
    char one[40];
    schedule->n_milestones = 0;
    for (const char *at = value;; at++) {
        const size_t n = strcspn(at, ",");
        if (schedule->n_milestones == LS_MILESTONES)
            return ls_fail(err, LS_USAGE, "'%.60s' has more than %d lengths", value, LS_MILESTONES);
        snprintf(one, sizeof one, "%.*s", (int)(n < sizeof one ? n : sizeof one - 1), at);
        struct ls_span *span = &schedule->at[schedule->n_milestones];
        const enum ls_code code = ls_span_parse(span, one, err);
        if (code != LS_OK)
            return code;
        if (schedule->n_milestones > 0 &&
            (span[-1].in_updates != span->in_updates || span[-1].length >= span->length))
            return ls_fail(err, LS_USAGE,
                           "'%.60s': lengths must ascend, and be all epochs or all updates, as in 30,60,80",
                           value);
        schedule->n_milestones++;
        at += n;
        if (!*at)
            return LS_OK;
    }
}

static enum ls_code read_number(const struct setting *setting, const char *value, float *number,
                                struct ls_error *err)
{
    if (ls_text_to_float(value, number) && *number >= setting->least && *number <= setting->most)
        return LS_OK;
    return ls_fail(err, LS_USAGE, "'%.60s' is not allowed: give a number from %g to %g", value,
                   (double)setting->least, (double)setting->most);
}

static enum ls_code read_anneal(const char *value, int *linear, struct ls_error *err)
{
    for (int i = 0; anneals[i]; i++)
        if (strcmp(value, anneals[i]) == 0) {
            *linear = i;
            return LS_OK;
        }
    return ls_fail(err, LS_USAGE, "unknown '%.60s': did you mean '%s'? Allowed: cosine, linear", value,
                   ls_text_nearest(value, anneals));
}

static enum ls_code read_setting(struct ls_schedule *schedule, const struct setting *setting,
                                 const char *value, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    void *target = field(schedule, setting);
    switch (setting->type) {
    case NUMBER:
        return read_number(setting, value, target, err);
    case WHOLE:
        if (ls_text_to_int64(value, target) && *(int64_t *)target >= 0 && *(int64_t *)target <= 1000000000)
            return LS_OK;
        return ls_fail(err, LS_USAGE, "'%.60s' is not allowed: give a whole number from 0 to 1000000000",
                       value);
    case SPAN:
        code = ls_span_parse(target, value, err);
        if (code == LS_OK && ((struct ls_span *)target)->length == 0.0f)
            return ls_fail(err, LS_USAGE, "'%.60s' must be more than nothing", value);
        return code;
    case SPANS:
        return read_spans(schedule, value, err);
    case ANNEAL:
        return read_anneal(value, target, err);
    }
    return code;
}

/* The settings of a kind, and their names, NULL-terminated; returns how many. */
static int settings_of(enum ls_schedule_kind kind, const struct setting *list[MOST_SETTINGS],
                       const char *names[MOST_SETTINGS + 1])
{
    int n = 0;
    for (int i = 0; i < N_SETTINGS; i++)
        if (settings[i].kind == kind) {
            list[n] = &settings[i];
            names[n++] = settings[i].name;
        }
    names[n] = NULL;
    return n;
}

/* One word, "name=value". */
static enum ls_code read_word(struct ls_schedule *schedule, char *word, unsigned *given, struct ls_error *err)
{
    const struct setting *list[MOST_SETTINGS];
    const char *names[MOST_SETTINGS + 1];
    char known[200];
    const char *kind = kinds[schedule->kind];
    const int n = settings_of(schedule->kind, list, names);
    char *equals = strchr(word, '=');
    if (n == 0)
        return ls_fail(err, LS_USAGE, "'%.60s': %s takes no settings", word, kind);
    ls_text_join(names, known, sizeof known);
    if (!equals)
        return ls_fail(err, LS_USAGE, "'%.60s' is no setting: give name=value; those of %s are %s", word,
                       kind, known);
    *equals = '\0';
    for (int i = 0; i < n; i++) {
        if (strcmp(word, names[i]) != 0)
            continue;
        if (*given & 1u << i)
            return ls_fail(err, LS_USAGE, "'%s' is given twice", word);
        *given |= 1u << i;
        struct ls_error why;
        if (read_setting(schedule, list[i], equals + 1, &why) != LS_OK)
            return ls_fail(err, LS_USAGE, "%s: %.500s", word, why.text);
        return LS_OK;
    }
    return ls_fail(err, LS_USAGE, "%s has no '%.60s': did you mean '%s'? Allowed: %s", kind, word,
                   ls_text_nearest(word, names), known);
}

static enum ls_code read_kind(struct ls_schedule *schedule, const char *word, struct ls_error *err)
{
    char known[200];
    for (int i = 0; kinds[i]; i++)
        if (strcmp(word, kinds[i]) == 0) {
            schedule->kind = (enum ls_schedule_kind)i;
            return LS_OK;
        }
    return ls_fail(err, LS_USAGE, "unknown schedule '%.60s': did you mean '%s'? Allowed: %s", word,
                   ls_text_nearest(word, kinds), ls_text_join(kinds, known, sizeof known));
}

static enum ls_code take_defaults(struct ls_schedule *schedule, unsigned given, struct ls_error *err)
{
    const struct setting *list[MOST_SETTINGS];
    const char *names[MOST_SETTINGS + 1];
    const int n = settings_of(schedule->kind, list, names);
    for (int i = 0; i < n; i++) {
        if (given & 1u << i)
            continue;
        if (!list[i]->usual)
            return ls_fail(err, LS_USAGE, "%s needs %s=...", kinds[schedule->kind], names[i]);
        const enum ls_code code = read_setting(schedule, list[i], list[i]->usual, err);
        if (code != LS_OK)
            return code;
    }
    return LS_OK;
}

enum ls_code ls_schedule_parse(struct ls_schedule *schedule, const char *text, struct ls_error *err)
{
    char copy[LS_SCHEDULE_TEXT];
    const struct ls_span warmup = schedule->warmup;
    if (strlen(text) >= sizeof copy)
        return ls_fail(err, LS_USAGE, "a schedule of %zu characters: at most %zu are allowed", strlen(text),
                       sizeof copy - 1);
    strcpy(copy, text);
    *schedule = (struct ls_schedule){.warmup = warmup};
    char *rest = NULL, *word = strtok_r(copy, " ", &rest);
    enum ls_code code = read_kind(schedule, word ? word : "", err);
    unsigned given = 0;
    while (code == LS_OK && (word = strtok_r(NULL, " ", &rest)))
        code = read_word(schedule, word, &given, err);
    return code == LS_OK ? take_defaults(schedule, given, err) : code;
}

static void format_value(const struct ls_schedule *schedule, const struct setting *setting, char *text,
                         size_t size)
{
    char one[LS_SPAN_TEXT];
    const void *value = const_field(schedule, setting);
    size_t used = 0;
    text[0] = '\0';
    switch (setting->type) {
    case NUMBER:
        plain_number(*(const float *)value, text);
        break;
    case WHOLE:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)value);
        break;
    case SPAN:
        ls_span_format(*(const struct ls_span *)value, text);
        break;
    case SPANS:
        for (int i = 0; i < schedule->n_milestones && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "",
                                     ls_span_format(schedule->at[i], one));
        break;
    case ANNEAL:
        snprintf(text, size, "%s", anneals[*(const int *)value]);
        break;
    }
}

const char *ls_schedule_format(const struct ls_schedule *schedule, char text[LS_SCHEDULE_TEXT])
{
    const struct setting *list[MOST_SETTINGS];
    const char *names[MOST_SETTINGS + 1];
    char value[LS_MILESTONES * (LS_FLOAT_TEXT + 1) + 1];
    const int n = settings_of(schedule->kind, list, names);
    size_t used = (size_t)snprintf(text, LS_SCHEDULE_TEXT, "%s", kinds[schedule->kind]);
    for (int i = 0; i < n && used < LS_SCHEDULE_TEXT; i++) {
        format_value(schedule, list[i], value, sizeof value);
        used += (size_t)snprintf(text + used, LS_SCHEDULE_TEXT - used, " %s=%s", names[i], value);
    }
    return text;
}
