/* Owns the words of --normalise, --scale and --augment. */
#include "cli/input_options.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "train/scaling.h"

/* One NAME, NAME=VALUE, or VALUE of a list. */
struct piece {
    const char *name, *value; /* either may be NULL */
};

static struct piece cut_piece(char **rest)
{
    char *text = strsep(rest, ","), *equals = strchr(text, '=');
    if (!equals)
        return (struct piece){.name = text};
    *equals = '\0';
    return (struct piece){text, equals + 1};
}

static enum ls_code read_pixels(struct piece piece, int64_t *pixels, struct ls_error *err)
{
    if (piece.value && ls_text_to_int64(piece.value, pixels) && *pixels >= 0 && *pixels <= LS_MOST_MOVE)
        return LS_OK;
    return ls_fail(err, LS_USAGE, "--augment: %s=%.40s; allowed are whole numbers of pixels from 0 to %d",
                   piece.name, piece.value ? piece.value : "", LS_MOST_MOVE);
}

static enum ls_code read_move(struct ls_augment *augment, struct piece piece, unsigned *seen,
                              struct ls_error *err)
{
    static const char *const names[] = {"shift", "crop", "flip", NULL};
    int known = 0;
    while (names[known] && strcmp(piece.name, names[known]) != 0)
        known++;
    if (!names[known])
        return ls_fail(err, LS_USAGE,
                       "--augment: unknown \"%.40s\"; did you mean %s?  Known are shift=PIXELS, flip and "
                       "crop=PIXELS, or none alone",
                       piece.name, ls_text_nearest(piece.name, names));
    if (*seen & 1u << known)
        return ls_fail(err, LS_USAGE, "--augment: %s is given twice", piece.name);
    *seen |= 1u << known;
    if (known < 2)
        return read_pixels(piece, known == 0 ? &augment->shift : &augment->crop, err);
    augment->flip = 1;
    return piece.value
               ? ls_fail(err, LS_USAGE, "--augment: flip=%.40s; flip stands without a value", piece.value)
               : LS_OK;
}

/* `text` is cut into pieces. */
static enum ls_code parse_augment(struct ls_augment *augment, char *text, struct ls_error *err)
{
    unsigned seen = 0;
    enum ls_code code = LS_OK;
    *augment = (struct ls_augment){0};
    if (strcmp(text, "none") == 0)
        return LS_OK;
    for (char *rest = text; rest && code == LS_OK;)
        code = read_move(augment, cut_piece(&rest), &seen, err);
    return code;
}

static enum ls_code unknown_normalisation(const char *found, struct ls_error *err)
{
    static const char *const names[] = {"channel", "mean", "std", "none", NULL};
    return ls_fail(err, LS_USAGE,
                   "--normalise: unknown \"%.40s\"; did you mean %s?  Known are channel, "
                   "mean=X,..,std=X,.. and none",
                   found, ls_text_nearest(found, names));
}

static enum ls_code read_number(const char *text, int is_deviation, int n, float *number,
                                struct ls_error *err)
{
    const char *name = is_deviation ? "std" : "mean";
    if (n == LS_MAX_CHANNELS)
        return ls_fail(err, LS_USAGE, "--normalise: more than %d numbers for %s", LS_MAX_CHANNELS, name);
    if (!ls_text_to_float(text, number))
        return ls_fail(err, LS_USAGE, "--normalise: %s has \"%.40s\"; allowed are finite numbers", name,
                       text);
    if (is_deviation && !(*number > 0.0f && isfinite(1.0f / *number)))
        return ls_fail(err, LS_USAGE, "--normalise: std has %.40s; allowed are numbers above 0", text);
    return LS_OK;
}

/* mean=X,..,std=X,.. in either order; `text` is cut into pieces. */
static enum ls_code parse_numbers(struct ls_normalise *normalise, char *text, struct ls_error *err)
{
    int n[2] = {0, 0}, list = -1; /* 0: means, 1: deviations */
    *normalise = (struct ls_normalise){.n_channels = 0};
    for (char *rest = text; rest;) {
        struct piece piece = cut_piece(&rest);
        if (piece.value) {
            list = strcmp(piece.name, "mean") == 0 ? 0 : strcmp(piece.name, "std") == 0 ? 1 : -1;
            if (list >= 0 && n[list] > 0)
                return ls_fail(err, LS_USAGE, "--normalise: %s is given twice", piece.name);
        }
        if (list < 0)
            return unknown_normalisation(piece.name, err);
        float *to = list ? normalise->deviation : normalise->mean;
        const enum ls_code code = read_number(piece.value ? piece.value : piece.name, list, n[list],
                                              &to[n[list] % LS_MAX_CHANNELS], err);
        if (code != LS_OK)
            return code;
        n[list]++;
    }
    if (n[0] != n[1])
        return ls_fail(err, LS_USAGE, "--normalise: %d numbers for mean, %d for std; one of each a channel",
                       n[0], n[1]);
    normalise->n_channels = n[0];
    return LS_OK;
}

/* Everything but "channel". */
static enum ls_code parse_normalise(struct ls_normalise *normalise, const char *text, struct ls_error *err)
{
    *normalise = (struct ls_normalise){.n_channels = 0};
    if (strcmp(text, "none") == 0)
        return LS_OK;
    char *pieces = ls_copy_text(text, err);
    if (!pieces)
        return LS_FAILED;
    const enum ls_code code = parse_numbers(normalise, pieces, err);
    ls_free(pieces);
    return code;
}

static enum ls_code normalise_data(struct ls_data *data, struct ls_normalise *normalise, struct ls_error *err)
{
    enum ls_code code = ls_normalise_check(normalise, &data->train, err);
    if (code == LS_OK && data->test.n_samples > 0) /* as many features, but perhaps in another shape */
        code = ls_normalise_check(normalise, &data->test, err);
    if (code == LS_OK)
        data->train.normalise = data->test.normalise = data->validation.normalise = *normalise;
    return code;
}

/* A file without the word is of another program, or of an older version. */
static enum ls_code normalise_of_model(const struct ls_safetensors *file, const char *path,
                                       struct ls_data *data, struct ls_error *err)
{
    const char *text = ls_safetensors_metadata(file, "normalise");
    struct ls_normalise normalise;
    struct ls_error inner = {.code = LS_OK};
    if (!text)
        return LS_OK;
    if (parse_normalise(&normalise, text, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' holds a normalisation that cannot be read: %.700s", path,
                       inner.text);
    if (normalise_data(data, &normalise, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' does not fit the data: %.700s", path, inner.text);
    return LS_OK;
}

static enum ls_code scaling_of_model(const struct ls_safetensors *file, const char *path,
                                     struct ls_data *data, struct ls_error *err)
{
    const char *kind = ls_safetensors_metadata(file, "scale");
    struct ls_scaling scaling;
    struct ls_error inner = {.code = LS_OK};
    if (!kind)
        return LS_OK;
    if (ls_scaling_read(&scaling, data->train.n_features, kind, ls_safetensors_metadata(file, "scale_offset"),
                        ls_safetensors_metadata(file, "scale_factor"), &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' holds a scaling of features that does not fit the data: %.700s",
                       path, inner.text);
    ls_data_scale(data, &scaling);
    return LS_OK;
}

enum ls_code ls_input_of_model(const struct ls_safetensors *file, const char *path, struct ls_data *data,
                               struct ls_error *err)
{
    const enum ls_code code = normalise_of_model(file, path, data, err);
    return code == LS_OK ? scaling_of_model(file, path, data, err) : code;
}

/* As the model that training starts from was trained. */
static enum ls_code as_loaded(const char *load, struct ls_data *data,
                              enum ls_code (*take)(const struct ls_safetensors *file, const char *path,
                                                   struct ls_data *data, struct ls_error *err),
                              struct ls_error *err)
{
    struct ls_safetensors *file = NULL;
    enum ls_code code = ls_safetensors_open(&file, load, err);
    if (code == LS_OK)
        code = take(file, load, data, err);
    ls_safetensors_close(&file);
    return code;
}

static enum ls_code prepare_normalise(const struct ls_input_options *options, const char *load,
                                      struct ls_data *data, struct ls_error *err)
{
    const char *text = options->normalise;
    if (!text)
        return load && options->scale < 0 ? as_loaded(load, data, normalise_of_model, err) : LS_OK;
    struct ls_normalise normalise;
    const enum ls_code code = strcmp(text, "channel") == 0
                                  ? ls_normalise_measure(&normalise, &data->train, err)
                                  : parse_normalise(&normalise, text, err);
    return code == LS_OK ? normalise_data(data, &normalise, err) : code;
}

/* What needs no other rank: refusals, and the numbers of a loaded model. */
static enum ls_code prepare_scale(const struct ls_input_options *options, const char *load,
                                  struct ls_data *data, struct ls_error *err)
{
    if (options->scale > LS_SCALE_NONE && options->normalise && strcmp(options->normalise, "none") != 0)
        return ls_fail(err, LS_USAGE,
                       "--normalise %.60s and --scale %s: both move and stretch the same values; give one",
                       options->normalise, ls_scaling_names[options->scale]);
    return load && options->scale < 0 && !options->normalise ? as_loaded(load, data, scaling_of_model, err)
                                                             : LS_OK;
}

enum ls_code ls_input_scale(const struct ls_input_options *options, const char *load, struct ls_data *data,
                            const struct ls_ops *ops, struct ls_comm *comm, struct ls_error *err)
{
    struct ls_scaling scaling;
    err->code = prepare_scale(options, load, data, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK || options->scale <= LS_SCALE_NONE)
        return code;
    code = ls_scaling_fit(&scaling, (enum ls_scaling_kind)options->scale, &data->train, ops, comm, err);
    if (code == LS_OK)
        ls_data_scale(data, &scaling);
    return code;
}

static enum ls_code prepare_augment(const char *text, const struct ls_data *data, struct ls_augment *augment,
                                    struct ls_error *err)
{
    *augment = (struct ls_augment){0};
    if (!text)
        return LS_OK;
    char *pieces = ls_copy_text(text, err);
    if (!pieces)
        return LS_FAILED;
    const enum ls_code code = parse_augment(augment, pieces, err);
    ls_free(pieces);
    return code == LS_OK ? ls_augment_check(augment, &data->train, err) : code;
}

enum ls_code ls_input_prepare(const struct ls_input_options *options, const char *load, struct ls_data *data,
                              struct ls_augment *augment, struct ls_error *err)
{
    const enum ls_code code = prepare_augment(options->augment, data, augment, err);
    return code == LS_OK ? prepare_normalise(options, load, data, err) : code;
}

static size_t append_numbers(char *text, size_t used, const char *name, const float *number, int n)
{
    char digits[LS_FLOAT_TEXT];
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, LS_INPUT_TEXT - used, "%s%s", i ? "," : name,
                                 ls_text_of_float(number[i], digits));
    return used;
}

const char *ls_normalise_text(const struct ls_normalise *normalise, char text[LS_INPUT_TEXT])
{
    _Static_assert(LS_INPUT_TEXT > 16 + 2 * LS_MAX_CHANNELS * 17, "room for every channel's numbers");
    if (normalise->n_channels == 0)
        return strcpy(text, "none");
    const size_t used = append_numbers(text, 0, "mean=", normalise->mean, normalise->n_channels);
    append_numbers(text, used, ",std=", normalise->deviation, normalise->n_channels);
    return text;
}

const char *ls_augment_text(const struct ls_augment *augment, char text[LS_INPUT_TEXT])
{
    char shift[32] = "", crop[32] = "";
    if (augment->shift > 0)
        snprintf(shift, sizeof shift, ",shift=%lld", (long long)augment->shift);
    if (augment->crop > 0)
        snprintf(crop, sizeof crop, ",crop=%lld", (long long)augment->crop);
    snprintf(text, LS_INPUT_TEXT, "%s%s%s", shift, augment->flip ? ",flip" : "", crop);
    return *text ? memmove(text, text + 1, strlen(text)) : strcpy(text, "none");
}

void ls_input_facts(const struct ls_data *data, const struct ls_augment *augment,
                    struct ls_model_facts *facts)
{
    char text[LS_INPUT_TEXT];
    _Static_assert(LS_INPUT_TEXT <= sizeof facts->fact[0].text, "a fact holds it");
    ls_model_facts_add(facts, "normalise", "%s", ls_normalise_text(&data->train.normalise, text));
    ls_model_facts_add(facts, "scale", "%s", ls_scaling_names[data->scaling.kind]);
    if (data->scaling.kind != LS_SCALE_NONE) {
        ls_model_facts_add_long(facts, "scale_offset", data->scaling.offset_text);
        ls_model_facts_add_long(facts, "scale_factor", data->scaling.factor_text);
    }
    ls_model_facts_add(facts, "augment", "%s", ls_augment_text(augment, text));
}

void ls_input_print(const struct ls_dataset *train, const struct ls_augment *augment)
{
    char normalise[LS_INPUT_TEXT], moves[LS_INPUT_TEXT];
    if (train->scaling)
        printf("input   --scale %s --augment %s\n", ls_scaling_names[train->scaling->kind],
               ls_augment_text(augment, moves));
    else if (train->normalise.n_channels > 0 || ls_augment_is_on(augment))
        printf("input   --normalise %s --augment %s\n", ls_normalise_text(&train->normalise, normalise),
               ls_augment_text(augment, moves));
}
