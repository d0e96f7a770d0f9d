/* What a --data specification of a file says: "csv:iris.csv,label=species,header=yes" is a format, files, and
 * settings.  A comma ends a file name; a piece with '=' is a setting, one without is another file. */
#ifndef LS_DATA_SOURCE_H
#define LS_DATA_SOURCE_H

#include "base/status.h"

enum { LS_SOURCE_FILES = 8, LS_SOURCE_SETTINGS = 16 };

struct ls_source {
    char *text;         /* owned: what all of the below points into */
    const char *format; /* "csv"; NULL: a bare file name */
    int n_files;
    const char *files[LS_SOURCE_FILES];
    int n_settings;
    struct {
        const char *name, *value;
        int used; /* a format has asked for it */
    } settings[LS_SOURCE_SETTINGS];
};

/* Local.  Release with ls_source_release, also after failure. */
enum ls_code ls_source_parse(struct ls_source *source, const char *spec, struct ls_error *err);
void ls_source_release(struct ls_source *source);

/* The value of a setting, or NULL when it is not given. */
const char *ls_source_setting(struct ls_source *source, const char *name);

/* Refuses a setting that nothing asked for (`known`: NULL-terminated, for the message) and files beyond
 * [least, most]. */
enum ls_code ls_source_check(const struct ls_source *source, const char *const *known, int least_files,
                             int most_files, struct ls_error *err);

#endif
