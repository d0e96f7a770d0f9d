/* Which arrays of a file with several are the inputs and which the targets: as the user says, or by the names
 * that people give them. */
#ifndef LS_DATA_ARRAY_NAMES_H
#define LS_DATA_ARRAY_NAMES_H

#include <stddef.h>

#include "base/status.h"
#include "data/source.h"

enum { LS_ARRAY_NAME = 256 };

struct ls_array_names {
    char x[LS_ARRAY_NAME], y[LS_ARRAY_NAME]; /* y "": there are no targets */
    int has_test;                            /* the file also has test data, under names of their own */
};

/* Chooses by the settings x=, y= (y=none: no targets) and part=train|val|test; without part, the test data
 * when `test_part` and the file has some.  `has` says whether the file has an array of a name, and `list`
 * writes the names that there are, for messages.  `what` names the file. */
struct ls_array_directory {
    const char *what;
    int (*has)(void *context, const char *name);
    void (*list)(void *context, char *text, size_t size);
    void *context;
};
enum ls_code ls_array_names_choose(struct ls_array_names *names, struct ls_source *source, int test_part,
                                   const struct ls_array_directory *directory, struct ls_error *err);

#endif
