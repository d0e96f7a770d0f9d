/* Owns the shape of specifications that name files.  See source.h. */
#include "data/source.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* A word of letters, digits and - before a colon is a format; "./a:b" and "C:" are file names. */
static char *cut_format(struct ls_source *source)
{
    char *colon = strchr(source->text, ':');
    if (!colon || colon - source->text < 2)
        return source->text;
    for (const char *c = source->text; c < colon; c++)
        if (!isalnum((unsigned char)*c) && *c != '-')
            return source->text;
    *colon = '\0';
    source->format = source->text;
    return colon + 1;
}

static enum ls_code take_piece(struct ls_source *source, char *piece, const char *spec, struct ls_error *err)
{
    char *equals = strchr(piece, '=');
    if (*piece == '\0')
        return ls_fail(err, LS_USAGE, "data \"%s\": nothing stands between two commas, or at an end", spec);
    if (!equals || source->n_files == 0) { /* the first piece is a file, whatever its name */
        if (source->n_files == LS_SOURCE_FILES)
            return ls_fail(err, LS_USAGE, "data \"%s\": more than %d files", spec, LS_SOURCE_FILES);
        source->files[source->n_files++] = piece;
        return LS_OK;
    }
    *equals = '\0';
    for (int i = 0; i < source->n_settings; i++)
        if (strcmp(source->settings[i].name, piece) == 0)
            return ls_fail(err, LS_USAGE, "data \"%s\": %s is given twice", spec, piece);
    if (source->n_settings == LS_SOURCE_SETTINGS)
        return ls_fail(err, LS_USAGE, "data \"%s\": more than %d settings", spec, LS_SOURCE_SETTINGS);
    source->settings[source->n_settings].name = piece;
    source->settings[source->n_settings++].value = equals + 1;
    return LS_OK;
}

enum ls_code ls_source_parse(struct ls_source *source, const char *spec, struct ls_error *err)
{
    *source = (struct ls_source){.text = ls_copy_text(spec, err)};
    if (!source->text)
        return LS_FAILED;
    enum ls_code code = LS_OK;
    for (char *rest = cut_format(source); rest && code == LS_OK;)
        code = take_piece(source, strsep(&rest, ","), spec, err);
    return code;
}

void ls_source_release(struct ls_source *source)
{
    if (!source)
        return;
    ls_free(source->text);
    *source = (struct ls_source){.text = NULL};
}

const char *ls_source_setting(struct ls_source *source, const char *name)
{
    for (int i = 0; i < source->n_settings; i++)
        if (strcmp(source->settings[i].name, name) == 0) {
            source->settings[i].used = 1;
            return source->settings[i].value;
        }
    return NULL;
}

enum ls_code ls_source_check(const struct ls_source *source, const char *const *known, int least_files,
                             int most_files, struct ls_error *err)
{
    char list[200], most[24] = "";
    if (most_files > least_files)
        snprintf(most, sizeof most, " to %d", most_files);
    for (int i = 0; i < source->n_settings; i++)
        if (!source->settings[i].used)
            return ls_fail(err, LS_USAGE, "data \"%s\": unknown setting %s=; allowed are %s",
                           source->files[0], source->settings[i].name,
                           known[0] ? ls_text_join(known, list, sizeof list) : "none");
    if (source->n_files < least_files || source->n_files > most_files)
        return ls_fail(err, LS_USAGE, "data \"%s\": %d file%s named; needed: %d%s", source->files[0],
                       source->n_files, source->n_files == 1 ? " is" : "s are", least_files, most);
    return LS_OK;
}
