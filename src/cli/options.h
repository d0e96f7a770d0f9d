/* Command-line options as tables: one row says the name, what it takes, its default and unit, and where it
 * goes, so
 * --help and the parser cannot disagree. */
#ifndef LS_CLI_OPTIONS_H
#define LS_CLI_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum ls_option_type {
    LS_OPTION_FLAG,  /* int, set to 1 */
    LS_OPTION_INT,   /* int64_t within [least, most] */
    LS_OPTION_SEED,  /* uint64_t */
    LS_OPTION_FLOAT, /* float, finite, within [least, most] as numbers; open says whether least is excluded */
    LS_OPTION_TEXT,  /* const char * into argv */
    LS_OPTION_CHOICE,        /* int: the index into choices */
    LS_OPTION_CHOICE_OR_INT, /* struct ls_choice_or_int: one of choices, or a number within [least, most] */
};

/* Each is set by the words that mean it; the option may be given once for each. */
struct ls_choice_or_int {
    int choice;
    int64_t number;
};

struct ls_option {
    const char *name;     /* without the dashes */
    const char *argument; /* "N", "FILE"; NULL for a flag */
    enum ls_option_type type;
    void *target;
    const char *help;         /* one sentence, with the unit */
    const char *default_text; /* NULL when there is none to state */
    double least, most;       /* INT and FLOAT; both 0: any */
    const char *const *choices;
    const char *unlimited; /* INT: a word that means -1 here, as "all" for --batch; or NULL */
};

struct ls_option_values;

struct ls_command_line {
    const char *command;  /* "train" */
    const char *synopsis; /* "lockstep train [OPTION ...]" */
    const char *summary;  /* what it does, a paragraph */
    const char *notes;    /* below the options: examples, exit statuses; or NULL */
    const struct ls_option *options;
    int n_options;
    int least_words, most_words;             /* words that are no options */
    const struct ls_option_values *defaults; /* what --no-NAME makes of an option; NULL: there is none */
};

/* Reads argv[1..argc) into the options' targets; words that are no options land in words[0..*n_words), in
 * order.  Where the line has defaults, --no-NAME takes NAME back: it is as if it was not given, here or
 * before. *help says whether --help was given; then nothing else is read, and the help goes to `out`, NULL
 * for nowhere.  `--name=value` and `--name value` are the same. */
enum ls_code ls_options_parse(const struct ls_command_line *line, int argc, char **argv, const char **words,
                              int *n_words, FILE *out, int *help, struct ls_error *err);

/* Sets one option of the table from a value as a command line has it; a flag takes "yes". */
enum ls_code ls_options_set(const struct ls_command_line *line, const char *name, const char *value,
                            struct ls_error *err);

/* What each option of a table has now, as a command line would say it: text NULL for one that is not given
 * and has no value.  Not to be copied: texts may point into it, and into argv. */
enum { LS_MOST_OPTIONS = 96 };
struct ls_option_values {
    int n;
    struct {
        const char *name, *text;
        char number[40];
        unsigned char value[sizeof(struct ls_choice_or_int)]; /* the target's */
    } option[LS_MOST_OPTIONS];
};
void ls_options_values(const struct ls_command_line *line, struct ls_option_values *values);

#endif
