/* Owns the mapping between a net and safetensors' names, shapes and metadata. */
#include "train/model_file.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/savefile.h"

void ls_model_facts_add(struct ls_model_facts *facts, const char *key, const char *format, ...)
{
    assert(facts->n < LS_MODEL_FACTS);
    snprintf(facts->fact[facts->n].key, sizeof facts->fact[0].key, "%s", key);
    va_list args;
    va_start(args, format);
    vsnprintf(facts->fact[facts->n].text, sizeof facts->fact[0].text, format, args);
    va_end(args);
    facts->n++;
}

void ls_model_facts_add_long(struct ls_model_facts *facts, const char *key, const char *text)
{
    assert(facts->n_long < LS_MODEL_LONG_FACTS);
    facts->long_fact[facts->n_long++] = (struct ls_metadata){key, text};
}

struct ls_hash ls_model_facts_hash(const struct ls_model_facts *facts, int but)
{
    struct ls_hash parts[2 * LS_MODEL_FACTS + 2 * LS_MODEL_LONG_FACTS];
    int n = 0;
    memset(parts, 0, sizeof parts);
    for (int i = 0; i < facts->n; i++) {
        if (i == but)
            continue;
        parts[n++] = ls_hash_bytes(facts->fact[i].key, strlen(facts->fact[i].key));
        parts[n++] = ls_hash_bytes(facts->fact[i].text, strlen(facts->fact[i].text));
    }
    for (int i = 0; i < facts->n_long; i++) {
        parts[n++] = ls_hash_bytes(facts->long_fact[i].key, strlen(facts->long_fact[i].key));
        parts[n++] = ls_hash_bytes(facts->long_fact[i].value, strlen(facts->long_fact[i].value));
    }
    return ls_hash_bytes(parts, sizeof parts);
}

/* Parameter t of the net as the file sees it. */
static struct ls_tensor file_tensor(const struct ls_net *net, int t, float *flat)
{
    const struct ls_parameter *parameter = &net->tensors[t];
    struct ls_tensor tensor = {.name = parameter->name,
                               .n_dims = parameter->n_dims,
                               .transposed = parameter->transposed,
                               .data = flat + parameter->offset};
    for (int d = 0; d < parameter->n_dims; d++)
        tensor.dims[d] = parameter->dims[d];
    return tensor;
}

/* What shapes the loss, each only where it is in use: a plain loss has none of them. */
struct loss_texts {
    char smoothing[LS_FLOAT_TEXT], delta[LS_FLOAT_TEXT];
    char *class_weights; /* released by ls_free */
};

static ptrdiff_t describe_loss(const struct ls_loss_rule *loss, struct loss_texts *texts,
                               struct ls_metadata *metadata)
{
    ptrdiff_t n = 0;
    if (loss->smoothing != 0.0f)
        metadata[n++] =
            (struct ls_metadata){"label_smoothing", ls_text_of_float(loss->smoothing, texts->smoothing)};
    if (loss->kind == LS_LOSS_HUBER)
        metadata[n++] = (struct ls_metadata){"huber_delta", ls_text_of_float(loss->delta, texts->delta)};
    if (texts->class_weights)
        metadata[n++] = (struct ls_metadata){"class_weights", texts->class_weights};
    return n;
}

/* A model's metadata with the memory behind it, and room for extras. */
struct description {
    char shape[100], version[16], hash[LS_HASH_TEXT];
    struct loss_texts texts;
    struct ls_metadata *metadata; /* released by ls_free, as texts.class_weights */
    ptrdiff_t n;
};

static enum ls_code describe(struct description *d, const struct ls_net *net, const struct ls_loss_rule *loss,
                             const float *parameters, const struct ls_model_facts *facts,
                             const struct ls_model_extras *extras, struct ls_error *err)
{
    enum { OWN = 9 };
    struct ls_hash hash;
    const enum ls_code code = ls_net_hash(net, parameters, &hash, err);
    if (code != LS_OK)
        return code;
    if (loss->class_weights && !(d->texts.class_weights = ls_loss_weights_text(loss, err)))
        return LS_FAILED;
    d->metadata = ls_alloc((size_t)(OWN + LS_MODEL_FACTS + LS_MODEL_LONG_FACTS + extras->n_metadata),
                           sizeof *d->metadata, "metadata of a model", err);
    if (!d->metadata)
        return LS_FAILED;
    ls_hash_text(hash, d->hash);
    snprintf(d->version, sizeof d->version, "%d", LS_CONTRACT_VERSION);
    ls_shape_format(&net->in, d->shape, sizeof d->shape);
    struct ls_metadata *m = d->metadata;
    ptrdiff_t n = 0;
    m[n++] = (struct ls_metadata){"format", "lockstep"};
    m[n++] = (struct ls_metadata){"contract_version", d->version};
    m[n++] = (struct ls_metadata){"net", net->text};
    m[n++] = (struct ls_metadata){"input_shape", d->shape};
    m[n++] = (struct ls_metadata){"loss", ls_loss_names[loss->kind]};
    n += describe_loss(loss, &d->texts, m + n);
    m[n++] = (struct ls_metadata){"hash", d->hash};
    for (int i = 0; i < facts->n; i++)
        m[n++] = (struct ls_metadata){facts->fact[i].key, facts->fact[i].text};
    for (int i = 0; i < facts->n_long; i++)
        m[n++] = facts->long_fact[i];
    for (ptrdiff_t i = 0; i < extras->n_metadata; i++)
        m[n++] = extras->metadata[i];
    d->n = n;
    return LS_OK;
}

static enum ls_code save(const char *path, const struct ls_net *net, const struct ls_loss_rule *loss,
                         const float *parameters, const struct ls_model_facts *facts,
                         const struct ls_model_extras *extras, int sealed, struct ls_error *err)
{
    struct description d = {.n = 0};
    const ptrdiff_t n = net->n_tensors + extras->n_tensors;
    struct ls_tensor *tensors = ls_alloc((size_t)n, sizeof *tensors, "tensor list", err);
    enum ls_code code = tensors ? describe(&d, net, loss, parameters, facts, extras, err) : LS_FAILED;
    for (ptrdiff_t t = 0; tensors && t < n; t++)
        tensors[t] = t < net->n_tensors
                         ? file_tensor(net, (int)t, (float *)(uintptr_t)parameters) /* save only reads */
                         : extras->tensors[t - net->n_tensors];
    if (code == LS_OK)
        code = sealed ? ls_safetensors_save_sealed(path, tensors, n, d.metadata, d.n, err)
                      : ls_safetensors_save(path, tensors, n, d.metadata, d.n, err);
    ls_free(tensors);
    ls_free(d.metadata);
    ls_free(d.texts.class_weights);
    return code;
}

enum ls_code ls_model_save(const char *path, const struct ls_net *net, const struct ls_loss_rule *loss,
                           const float *parameters, const struct ls_model_facts *facts, struct ls_error *err)
{
    return save(path, net, loss, parameters, facts, &(const struct ls_model_extras){0}, 0, err);
}

enum ls_code ls_model_save_sealed(const char *path, const struct ls_net *net, const struct ls_loss_rule *loss,
                                  const float *parameters, const struct ls_model_facts *facts,
                                  const struct ls_model_extras *extras, struct ls_error *err)
{
    return save(path, net, loss, parameters, facts, extras, 1, err);
}

enum ls_code ls_model_can_save(const char *path, struct ls_error *err)
{
    struct ls_savefile file = {0};
    const enum ls_code code = ls_savefile_open(&file, path, err);
    ls_savefile_release(&file);
    return code;
}

/* The parameters are those that were saved.  A file of another program may have no hash: nothing to hold it
 * to.
 */
static enum ls_code check_hash(const struct ls_safetensors *file, const char *path, const struct ls_net *net,
                               const float *parameters, struct ls_error *err)
{
    const char *format = ls_safetensors_metadata(file, "format");
    const char *stored = ls_safetensors_metadata(file, "hash");
    struct ls_hash hash;
    char text[LS_HASH_TEXT];
    if (!format || strcmp(format, "lockstep") != 0 || !stored)
        return LS_OK;
    const enum ls_code code = ls_net_hash(net, parameters, &hash, err);
    if (code != LS_OK)
        return code;
    ls_hash_text(hash, text);
    if (strcmp(stored, text) != 0)
        return ls_fail(err, LS_FAILED, "'%s' is corrupt: its parameters hash to %s, its header says %.40s",
                       path, text, stored);
    return LS_OK;
}

enum ls_code ls_model_read_parameters(const struct ls_safetensors *file, const char *path,
                                      const struct ls_net *net, float *parameters, struct ls_error *err)
{
    for (ptrdiff_t i = 0; i < ls_safetensors_count(file); i++) {
        const char *name = ls_safetensors_tensor(file, i)->name;
        int known = strncmp(name, LS_STATE_PREFIX, sizeof LS_STATE_PREFIX - 1) == 0;
        for (int t = 0; t < net->n_tensors; t++)
            known |= strcmp(net->tensors[t].name, name) == 0;
        if (!known)
            return ls_fail(err, LS_FAILED,
                           "'%s' is a model of another net: its tensor '%.60s' is none of '%.200s'", path,
                           name, net->text);
    }
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_tensor tensor = file_tensor(net, t, parameters);
        const enum ls_code code = ls_safetensors_read(file, &tensor, err);
        if (code != LS_OK)
            return code;
    }
    return check_hash(file, path, net, parameters, err);
}

enum ls_code ls_model_load_parameters(const char *path, const struct ls_net *net, float *parameters,
                                      struct ls_error *err)
{
    struct ls_safetensors *file = NULL;
    enum ls_code code = ls_safetensors_open(&file, path, err);
    if (code == LS_OK)
        code = ls_model_read_parameters(file, path, net, parameters, err);
    ls_safetensors_close(&file);
    return code;
}

/* The text of a metadata key that a model must have. */
static const char *required(const struct ls_safetensors *file, const char *path, const char *key,
                            struct ls_error *err)
{
    const char *text = ls_safetensors_metadata(file, key);
    if (!text)
        ls_fail(err, LS_FAILED, "'%s' is no lockstep model: its metadata has no '%s'", path, key);
    return text;
}

/* A number that shapes the loss; `usual` when the file does not say it. */
static enum ls_code read_number(const struct ls_safetensors *file, const char *path, const char *key,
                                float usual, float least, float most, float *number, struct ls_error *err)
{
    const char *text = ls_safetensors_metadata(file, key);
    *number = usual;
    if (text && (!ls_text_to_float(text, number) || !(*number >= least && *number <= most)))
        return ls_fail(err, LS_FAILED, "'%s': the %s '%.60s' is no number from %g to %g", path, key, text,
                       (double)least, (double)most);
    return LS_OK;
}

static enum ls_code read_loss(struct ls_model *model, const char *path, const char *name,
                              struct ls_error *err)
{
    struct ls_loss_rule *loss = &model->loss;
    int known = -1;
    for (int i = 0; ls_loss_names[i]; i++)
        if (strcmp(name, ls_loss_names[i]) == 0)
            known = i;
    if (known < 0)
        return ls_fail(err, LS_FAILED, "'%s': unknown loss '%.60s'", path, name);
    loss->kind = (enum ls_loss)known;
    enum ls_code code = LS_OK;
    if (loss->kind == LS_LOSS_SOFTMAX)
        code = read_number(model->file, path, "label_smoothing", 0.0f, 0.0f, 0.999f, &loss->smoothing, err);
    if (loss->kind == LS_LOSS_HUBER)
        code = read_number(model->file, path, "huber_delta", LS_DEFAULT_HUBER_DELTA, 1e-30f, 1e30f,
                           &loss->delta, err);
    const char *weights = ls_safetensors_metadata(model->file, "class_weights");
    if (code != LS_OK || !weights)
        return code;
    struct ls_error inner = {.code = LS_OK};
    if (ls_loss_read_weights(loss, weights, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s': class_weights: %.900s", path, inner.text);
    return LS_OK;
}

enum ls_code ls_model_read_classes(const struct ls_safetensors *file, const char *path,
                                   struct ls_class_names *classes, struct ls_error *err)
{
    const char *json = ls_safetensors_metadata(file, "class_names");
    struct ls_error inner = {.code = LS_OK};
    *classes = (struct ls_class_names){.n = 0};
    if (json && ls_class_names_of_json(classes, json, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s': class_names: %.900s", path, inner.text);
    return LS_OK;
}

enum ls_code ls_model_read_inputs(const struct ls_safetensors *file, const char *path,
                                  struct ls_features *inputs, struct ls_error *err)
{
    struct ls_error inner = {.code = LS_OK};
    if (ls_features_read(inputs, ls_safetensors_metadata(file, "input_names"),
                         ls_safetensors_metadata(file, "input_means"), &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s': what it says of input columns cannot be read: %.900s", path,
                       inner.text);
    return LS_OK;
}

static enum ls_code read_description(struct ls_model *model, const char *path, struct ls_error *err)
{
    const char *version = required(model->file, path, "contract_version", err);
    const char *net = version ? required(model->file, path, "net", err) : NULL;
    const char *shape_text = net ? required(model->file, path, "input_shape", err) : NULL;
    const char *loss = shape_text ? required(model->file, path, "loss", err) : NULL;
    if (!loss)
        return LS_FAILED;
    int64_t number = 0;
    if (!ls_text_to_int64(version, &number) || number != LS_CONTRACT_VERSION)
        return ls_fail(err, LS_FAILED, "'%s' follows contract version '%.20s', this program version %d", path,
                       version, LS_CONTRACT_VERSION);
    struct ls_shape in;
    if (!ls_shape_parse(shape_text, &in))
        return ls_fail(err, LS_FAILED, "'%s': the input_shape '%.60s' is no shape such as 28x28", path,
                       shape_text);
    if (read_loss(model, path, loss, err) != LS_OK)
        return LS_FAILED;
    if (ls_model_read_classes(model->file, path, &model->classes, err) != LS_OK ||
        ls_model_read_inputs(model->file, path, &model->inputs, err) != LS_OK)
        return LS_FAILED;
    if (net[0] == '@') /* a model must not make its reader open files */
        return ls_fail(err, LS_FAILED, "'%s': the net '%.60s' is no list of layers", path, net);
    struct ls_error inner = {.code = LS_OK};
    if (ls_net_create(&model->net, net, in, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' holds a net that cannot be read: %.900s", path, inner.text);
    return LS_OK;
}

enum ls_code ls_model_load(struct ls_model *model, const char *path, struct ls_error *err)
{
    *model = (struct ls_model){0};
    enum ls_code code = ls_safetensors_open(&model->file, path, err);
    if (code == LS_OK)
        code = read_description(model, path, err);
    /* The shapes come from the file's text: they must agree with the tensors it holds before memory is asked
     * for. */
    for (int t = 0; code == LS_OK && t < model->net.n_tensors; t++) {
        const struct ls_stored_tensor *stored = ls_safetensors_find(model->file, model->net.tensors[t].name);
        if (!stored || stored->n_elements != model->net.tensors[t].count)
            code = ls_fail(err, LS_FAILED,
                           "'%s': the net '%.200s' needs a tensor '%s' of %td numbers, the file has %s", path,
                           model->net.text, model->net.tensors[t].name, model->net.tensors[t].count,
                           stored ? "another size" : "none");
    }
    if (code == LS_OK) {
        model->parameters = ls_alloc((size_t)model->net.n_floats, sizeof(float), "parameters", err);
        code = model->parameters ? LS_OK : LS_FAILED;
    }
    if (code == LS_OK)
        code = ls_model_read_parameters(model->file, path, &model->net, model->parameters, err);
    if (code != LS_OK)
        ls_model_release(model);
    return code;
}

void ls_model_release(struct ls_model *model)
{
    if (!model)
        return;
    ls_safetensors_close(&model->file);
    ls_free(model->parameters);
    ls_loss_rule_release(&model->loss);
    ls_class_names_release(&model->classes);
    ls_features_release(&model->inputs);
    ls_net_release(&model->net);
    *model = (struct ls_model){0};
}
