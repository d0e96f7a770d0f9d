/* Owns how options read and how help looks.  The values' meaning is the commands'. */
#include "cli/options.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

enum { HELP_COLUMN = 26, HELP_WIDTH = 100 };

static const struct ls_option *find(const struct ls_command_line *line, const char *name, size_t length)
{
    for (int i = 0; i < line->n_options; i++)
        if (strlen(line->options[i].name) == length && strncmp(line->options[i].name, name, length) == 0)
            return &line->options[i];
    return NULL;
}

static enum ls_code unknown_option(const struct ls_command_line *line, const char *word, size_t length,
                                   struct ls_error *err)
{
    const char *names[LS_MOST_OPTIONS + 1] = {NULL};
    char wanted[64];
    for (int i = 0; i < line->n_options && i < LS_MOST_OPTIONS; i++)
        names[i] = line->options[i].name;
    snprintf(wanted, sizeof wanted, "%.*s", (int)(length < 60 ? length : 60), word);
    return ls_fail(err, LS_USAGE,
                   "unknown option '--%s': did you mean '--%s'? 'lockstep %s --help' lists all", wanted,
                   ls_text_nearest(wanted, names), line->command);
}

static enum ls_code wrong_value(const struct ls_option *option, const char *value, const char *allowed,
                                struct ls_error *err)
{
    return ls_fail(err, LS_USAGE, "--%s: '%.100s' is not allowed: give %s", option->name, value, allowed);
}

/* "a whole number from 1 to 100", "... of at least 1". */
static void describe_range(const struct ls_option *option, const char *kind, char *text, size_t size)
{
    const char *other = option->unlimited ? option->unlimited : "";
    const char *or_word = option->unlimited ? ", or " : "";
    if (option->least == 0 && option->most == 0)
        snprintf(text, size, "%s%s%s", kind, or_word, other);
    else
        snprintf(text, size, "%s from %.10g to %.10g%s%s", kind, option->least, option->most, or_word, other);
}

static int within(const struct ls_option *option, double value)
{
    return (option->least == 0 && option->most == 0) || (value >= option->least && value <= option->most);
}

static int within_floats(const struct ls_option *option, float value)
{
    return (option->least == 0 && option->most == 0) ||
           (value >= (float)option->least && value <= (float)option->most);
}

static enum ls_code set_choice(const struct ls_option *option, const char *value, struct ls_error *err)
{
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], value) == 0) {
            *(int *)option->target = i;
            return LS_OK;
        }
    char list[200];
    return ls_fail(err, LS_USAGE, "--%s: unknown '%.100s': did you mean '%s'? Allowed: %s", option->name,
                   value, ls_text_nearest(value, option->choices),
                   ls_text_join(option->choices, list, sizeof list));
}

static enum ls_code set_choice_or_int(const struct ls_option *option, const char *value, struct ls_error *err)
{
    struct ls_choice_or_int *target = option->target;
    int64_t number = 0;
    if (ls_text_to_int64(value, &number) && within(option, (double)number)) {
        target->number = number;
        return LS_OK;
    }
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], value) == 0) {
            target->choice = i;
            return LS_OK;
        }
    char list[100];
    return ls_fail(
        err, LS_USAGE,
        "--%s: unknown '%.100s': did you mean '%s'? Allowed: %s, and whole numbers from %.10g to %.10g",
        option->name, value, ls_text_nearest(value, option->choices),
        ls_text_join(option->choices, list, sizeof list), option->least, option->most);
}

static enum ls_code set_value(const struct ls_option *option, const char *value, struct ls_error *err)
{
    char allowed[200];
    int64_t whole = 0;
    float number = 0.0f;
    switch (option->type) {
    case LS_OPTION_FLAG:
        *(int *)option->target = 1;
        return LS_OK;
    case LS_OPTION_TEXT:
        if (!*value)
            return wrong_value(option, value, "a text that is not empty", err);
        *(const char **)option->target = value;
        return LS_OK;
    case LS_OPTION_CHOICE:
        return set_choice(option, value, err);
    case LS_OPTION_CHOICE_OR_INT:
        return set_choice_or_int(option, value, err);
    case LS_OPTION_SEED:
        if (!ls_text_to_uint64(value, option->target))
            return wrong_value(option, value, "a whole number from 0 to 2^64 - 1", err);
        return LS_OK;
    case LS_OPTION_INT:
        if (option->unlimited && strcmp(value, option->unlimited) == 0)
            whole = -1;
        else if (!ls_text_to_int64(value, &whole) || !within(option, (double)whole)) {
            describe_range(option, "a whole number", allowed, sizeof allowed);
            return wrong_value(option, value, allowed, err);
        }
        *(int64_t *)option->target = whole;
        return LS_OK;
    case LS_OPTION_FLOAT:
        /* The limits as binary32 too, or 1e30 would be above 1e30. */
        if (!ls_text_to_float(value, &number) || !within_floats(option, number)) {
            describe_range(option, "a finite number", allowed, sizeof allowed);
            return wrong_value(option, value, allowed, err);
        }
        *(float *)option->target = number;
        return LS_OK;
    }
    return LS_OK;
}

static size_t value_bytes(enum ls_option_type type)
{
    switch (type) {
    case LS_OPTION_FLAG:
    case LS_OPTION_CHOICE:
        return sizeof(int);
    case LS_OPTION_INT:
        return sizeof(int64_t);
    case LS_OPTION_SEED:
        return sizeof(uint64_t);
    case LS_OPTION_FLOAT:
        return sizeof(float);
    case LS_OPTION_TEXT:
        return sizeof(char *);
    case LS_OPTION_CHOICE_OR_INT:
        break;
    }
    return sizeof(struct ls_choice_or_int);
}

/* --no-NAME.  Whether it is one. */
static int take_back(const struct ls_command_line *line, const char *word)
{
    const int negates = line->defaults && strncmp(word, "no-", 3) == 0;
    const struct ls_option *option = negates ? find(line, word + 3, strlen(word + 3)) : NULL;
    if (option)
        memcpy(option->target, line->defaults->option[option - line->options].value,
               value_bytes(option->type));
    return option != NULL;
}

/* Consumes the option at argv[*at], with the next word when its value stands there. */
static enum ls_code parse_option(const struct ls_command_line *line, int argc, char **argv, int *at,
                                 struct ls_error *err)
{
    const char *name = argv[*at] + 2;
    const size_t length = strcspn(name, "=");
    const struct ls_option *option = find(line, name, length);
    if (!option && take_back(line, name))
        return LS_OK;
    if (!option)
        return unknown_option(line, name, length, err);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (option->type == LS_OPTION_FLAG && value)
        return ls_fail(err, LS_USAGE, "--%s takes no value, found '%.100s'", option->name, value);
    if (option->type != LS_OPTION_FLAG && !value) {
        if (*at + 1 >= argc)
            return ls_fail(err, LS_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                           option->argument);
        value = argv[++*at];
    }
    return set_value(option, value, err);
}

enum ls_code ls_options_set(const struct ls_command_line *line, const char *name, const char *value,
                            struct ls_error *err)
{
    const struct ls_option *option = find(line, name, strlen(name));
    return option ? set_value(option, value, err) : unknown_option(line, name, strlen(name), err);
}

static const char *value_of(const struct ls_option *option, char number[40])
{
    int64_t whole = 0;
    char digits[LS_FLOAT_TEXT];
    switch (option->type) {
    case LS_OPTION_FLAG:
        return *(const int *)option->target ? "yes" : NULL;
    case LS_OPTION_TEXT:
        return *(const char *const *)option->target;
    case LS_OPTION_CHOICE:
        return *(const int *)option->target < 0 ? NULL : option->choices[*(const int *)option->target];
    case LS_OPTION_CHOICE_OR_INT:
        return option->choices[((const struct ls_choice_or_int *)option->target)->choice];
    case LS_OPTION_SEED:
        snprintf(number, 40, "%llu", (unsigned long long)*(const uint64_t *)option->target);
        return number;
    case LS_OPTION_FLOAT:
        if (*(const float *)option->target != *(const float *)option->target)
            return NULL; /* a NaN stands for "not given" */
        snprintf(number, 40, "%s", ls_text_of_float(*(const float *)option->target, digits));
        return number;
    case LS_OPTION_INT:
        whole = *(const int64_t *)option->target;
        if (whole == -1 && option->unlimited)
            return option->unlimited;
        snprintf(number, 40, "%lld", (long long)whole);
        return number;
    }
    return NULL;
}

void ls_options_values(const struct ls_command_line *line, struct ls_option_values *values)
{
    assert(line->n_options <= LS_MOST_OPTIONS);
    values->n = line->n_options;
    for (int i = 0; i < line->n_options; i++) {
        values->option[i].name = line->options[i].name;
        values->option[i].text = value_of(&line->options[i], values->option[i].number);
        memcpy(values->option[i].value, line->options[i].target, value_bytes(line->options[i].type));
    }
}

/* Prints words from the column on, wrapped. */
static void print_wrapped(FILE *out, const char *text, int column, int at)
{
    while (*text) {
        const int length = (int)strcspn(text, " ");
        if (at > column && at + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        }
        at += fprintf(out, "%s%.*s", at > column ? " " : "", length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void print_help(const struct ls_command_line *line, FILE *out)
{
    fprintf(out, "usage: %s\n\n", line->synopsis);
    print_wrapped(out, line->summary, 0, 0);
    fprintf(out, "\n");
    if (line->n_options)
        fprintf(out, "\noptions:\n");
    for (int i = 0; i < line->n_options; i++) {
        const struct ls_option *option = &line->options[i];
        int at = fprintf(out, "  --%s%s%s", option->name, option->argument ? " " : "",
                         option->argument ? option->argument : "");
        if (at >= HELP_COLUMN) {
            fprintf(out, "\n");
            at = 0;
        }
        fprintf(out, "%*s", HELP_COLUMN - at, "");
        char text[700], list[200] = "";
        if (option->choices)
            ls_text_join(option->choices, list, sizeof list);
        snprintf(text, sizeof text, "%s%s%s%s%s%s%s", option->help, *list ? ": " : "", list,
                 option->default_text ? " (default " : "", option->default_text ? option->default_text : "",
                 option->default_text ? ")" : "", "");
        print_wrapped(out, text, HELP_COLUMN, HELP_COLUMN);
        fprintf(out, "\n");
    }
    if (line->notes)
        fprintf(out, "\n%s", line->notes);
}

enum ls_code ls_options_parse(const struct ls_command_line *line, int argc, char **argv, const char **words,
                              int *n_words, FILE *out, int *help, struct ls_error *err)
{
    *n_words = *help = 0;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            *help = 1;
    if (*help) {
        if (out)
            print_help(line, out);
        return LS_OK;
    }
    int only_words = 0;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = 1;
            continue;
        }
        if (!only_words && strncmp(argv[i], "--", 2) == 0) {
            const enum ls_code code = parse_option(line, argc, argv, &i, err);
            if (code != LS_OK)
                return code;
            continue;
        }
        if (!only_words && argv[i][0] == '-' && argv[i][1])
            return ls_fail(err, LS_USAGE, "unknown option '%.100s': options have two dashes and a whole name",
                           argv[i]);
        if (*n_words == line->most_words)
            return ls_fail(err, LS_USAGE, "unexpected '%.100s': usage: %s", argv[i], line->synopsis);
        words[(*n_words)++] = argv[i];
    }
    if (*n_words < line->least_words)
        return ls_fail(err, LS_USAGE, "something is missing: usage: %s", line->synopsis);
    return LS_OK;
}
