/* Owns the names of arrays in files that hold several.  See array_names.h. */
#include "data/array_names.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Inputs and targets; with %s for train, val or test: Keras' data sets and np.savez in tutorials, MedMNIST,
 * Coursera's .h5 files.  The last two of the plain ones are what np.savez(file, x, y) makes. */
static const char *const in_parts[][2] = {
    {"x_%s", "y_%s"},           {"X_%s", "y_%s"},           {"X_%s", "Y_%s"},
    {"%s_images", "%s_labels"}, {"%s_data", "%s_labels"},   {"%s_x", "%s_y"},
    {"%s_set_x", "%s_set_y"},   {"%s/images", "%s/labels"}, {"%s/x", "%s/y"},
};
static const char *const plain[][2] = {
    {"x", "y"},
    {"X", "y"},
    {"X", "Y"},
    {"images", "labels"},
    {"images", "label"},
    {"data", "labels"},
    {"data", "label"},
    {"data", "target"},
    {"data", "targets"},
    {"inputs", "targets"},
    {"features", "labels"},
    {"features", "targets"},
    {"arr_0", "arr_1"},
};
enum { N_IN_PARTS = sizeof in_parts / sizeof in_parts[0], N_PLAIN = sizeof plain / sizeof plain[0] };

static int has_both(const struct ls_array_directory *directory, const struct ls_array_names *names)
{
    return directory->has(directory->context, names->x) && directory->has(directory->context, names->y);
}

/* name with its %s replaced */
static void spell(char text[LS_ARRAY_NAME], const char *name, const char *part)
{
    const char *gap = strstr(name, "%s");
    snprintf(text, LS_ARRAY_NAME, "%.*s%s%s", (int)(gap - name), name, part, gap + 2);
}

/* Whether the file has inputs and targets of that part; then *names has them. */
static int find_part(struct ls_array_names *names, const char *part,
                     const struct ls_array_directory *directory)
{
    for (int i = 0; i < N_IN_PARTS; i++) {
        spell(names->x, in_parts[i][0], part);
        spell(names->y, in_parts[i][1], part);
        if (has_both(directory, names))
            return 1;
    }
    return 0;
}

static int find_plain(struct ls_array_names *names, const struct ls_array_directory *directory)
{
    for (int i = 0; i < N_PLAIN; i++) {
        snprintf(names->x, sizeof names->x, "%s", plain[i][0]);
        snprintf(names->y, sizeof names->y, "%s", plain[i][1]);
        if (has_both(directory, names))
            return 1;
    }
    return 0;
}

static enum ls_code find(struct ls_array_names *names, const char *part, int test_part,
                         const struct ls_array_directory *directory, struct ls_error *err)
{
    char list[400];
    const char *wanted = part ? part : test_part ? "test" : "train";
    if (part || test_part) {
        if (find_part(names, wanted, directory))
            return LS_OK;
        directory->list(directory->context, list, sizeof list);
        if (part)
            return ls_fail(err, LS_FAILED,
                           "%s has no arrays x_%s and y_%s, nor others that part=%s stands for; it has %s: "
                           "say which with x=NAME and y=NAME",
                           directory->what, part, part, part, list);
    }
    struct ls_array_names test;
    if (find_part(names, "train", directory)) {
        names->has_test = !test_part && find_part(&test, "test", directory);
        return LS_OK;
    }
    if (find_plain(names, directory))
        return LS_OK;
    directory->list(directory->context, list, sizeof list);
    return ls_fail(err, LS_FAILED,
                   "%s has no arrays x and y, x_train and y_train, nor others of usual names; it has %s: say "
                   "which with x=NAME and y=NAME",
                   directory->what, list);
}

static enum ls_code take_name(char to[LS_ARRAY_NAME], const char *setting, const char *name,
                              const struct ls_array_directory *directory, struct ls_error *err)
{
    char list[400];
    if (strlen(name) < LS_ARRAY_NAME && directory->has(directory->context, name)) {
        snprintf(to, LS_ARRAY_NAME, "%s", name);
        return LS_OK;
    }
    directory->list(directory->context, list, sizeof list);
    return ls_fail(err, LS_FAILED, "%s: %s=%.200s is no array of it; it has %s", directory->what, setting,
                   name, list);
}

enum ls_code ls_array_names_choose(struct ls_array_names *names, struct ls_source *source, int test_part,
                                   const struct ls_array_directory *directory, struct ls_error *err)
{
    static const char *const parts[] = {"train", "val", "test", NULL};
    const char *x = ls_source_setting(source, "x"), *y = ls_source_setting(source, "y"),
               *part = ls_source_setting(source, "part");
    *names = (struct ls_array_names){.has_test = 0};
    int known = !part;
    for (int i = 0; part && parts[i]; i++)
        known |= strcmp(part, parts[i]) == 0;
    if (!known)
        return ls_fail(err, LS_USAGE, "%s: part=%s; allowed are train, val and test", directory->what, part);
    if (x && part)
        return ls_fail(err, LS_USAGE, "%s: x= and part= both choose arrays; give one of them",
                       directory->what);
    if (!x && y)
        return ls_fail(err, LS_USAGE, "%s: y=%s without x=; give both", directory->what, y);
    if (!x)
        return find(names, part, test_part, directory, err);
    if (!y)
        return ls_fail(err, LS_USAGE, "%s: x=%s without y=; y=none says that there are no targets",
                       directory->what, x);
    const enum ls_code code = take_name(names->x, "x", x, directory, err);
    return code == LS_OK && strcmp(y, "none") != 0 ? take_name(names->y, "y", y, directory, err) : code;
}
