/* Owns the net language and the layout of the flat buffers. */
#include "model/net.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { MAX_TEXT_BYTES = 1 << 20, MAX_LAYERS = 10000, TENSOR_ALIGNMENT = 16 };

/* The text behind --net, and how to say where in it something stands. */
struct source {
    char *text;
    const char *file; /* NULL when inline */
};

static enum ls_code read_file(struct source *source, const char *path, struct ls_error *err)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return ls_fail_errno(err, LS_USAGE, "cannot read the net file '%s'", path);
    source->file = path;
    source->text = ls_alloc(MAX_TEXT_BYTES + 1, 1, "net file", err);
    enum ls_code code = source->text ? LS_OK : LS_FAILED;
    if (code == LS_OK) {
        const size_t n = fread(source->text, 1, MAX_TEXT_BYTES + 1, file);
        if (ferror(file))
            code = ls_fail_errno(err, LS_FAILED, "cannot read the net file '%s'", path);
        else if (n > MAX_TEXT_BYTES)
            code = ls_fail(err, LS_USAGE, "the net file '%s' is longer than %d bytes", path, MAX_TEXT_BYTES);
        else if (memchr(source->text, '\0', n))
            code = ls_fail(err, LS_USAGE, "the net file '%s' holds a zero byte: it must be text", path);
        else
            source->text[n] = '\0';
    }
    fclose(file);
    return code;
}

static enum ls_code open_source(struct source *source, const char *text, struct ls_error *err)
{
    *source = (struct source){0};
    if (text[0] == '@')
        return read_file(source, text + 1, err);
    source->text = ls_copy_text(text, err);
    return source->text ? LS_OK : LS_FAILED;
}

/* Puts the layer's place in front of the message that a kind wrote. */
static enum ls_code explain(const struct ls_layer *layer, enum ls_code code, struct ls_error *err)
{
    if (code != LS_OK && err) {
        char reason[sizeof err->text];
        snprintf(reason, sizeof reason, "%s", err->text);
        snprintf(err->text, sizeof err->text, "%s ('%s'): %.900s", layer->where, layer->text, reason);
    }
    return code;
}

static int split_words(char *text, char *words[LS_LAYER_WORDS])
{
    int n = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        if (n == LS_LAYER_WORDS)
            return n + 1;
        words[n++] = word;
    }
    return n;
}

/* One item of the list: [begin, end) of the text, already known not to be blank. */
static enum ls_code parse_layer(struct ls_layer *layer, const char *begin, size_t length,
                                struct ls_error *err)
{
    char copy[sizeof layer->text];
    if (length >= sizeof layer->text)
        return ls_fail(err, LS_USAGE, "%s: a layer of %zu characters; at most %zu are allowed", layer->where,
                       length, sizeof layer->text - 1);
    memcpy(layer->text, begin, length);
    layer->text[length] = '\0';
    memcpy(copy, layer->text, length + 1);
    char *words[LS_LAYER_WORDS];
    const int n_words = split_words(copy, words);
    if (n_words > LS_LAYER_WORDS)
        return ls_fail(err, LS_USAGE, "%s ('%s'): more than %d words", layer->where, layer->text,
                       LS_LAYER_WORDS);
    layer->kind = ls_layer_find(words[0], err);
    if (!layer->kind)
        return explain(layer, LS_USAGE, err);
    return explain(layer, layer->kind->configure(layer, n_words - 1, words + 1, err), err);
}

static void trim(const char **begin, const char **end)
{
    while (*begin < *end && isspace((unsigned char)**begin))
        ++*begin;
    while (*end > *begin && isspace((unsigned char)(*end)[-1]))
        --*end;
}

/* Walks the text; a comma or a line end closes an item, blank lines and comments are passed over. */
static enum ls_code parse_list(struct ls_net *net, const struct source *source, struct ls_error *err)
{
    int line = 1;
    for (const char *at = source->text; *at;) {
        const size_t length = strcspn(at, ",\n#");
        const char *begin = at, *end = at + length;
        trim(&begin, &end);
        at += length;
        if (begin == end && *at == ',')
            return ls_fail(err, LS_USAGE, "--net: nothing in front of the comma behind layer %d",
                           net->n_layers);
        if (begin < end) {
            if (net->n_layers == MAX_LAYERS)
                return ls_fail(err, LS_USAGE, "--net: more than %d layers", MAX_LAYERS);
            struct ls_layer *layer = &net->layers[net->n_layers];
            layer->index = net->n_layers++;
            if (source->file)
                snprintf(layer->where, sizeof layer->where, "%.72s:%d", source->file, line);
            else
                snprintf(layer->where, sizeof layer->where, "--net, layer %d", net->n_layers);
            const enum ls_code code = parse_layer(layer, begin, (size_t)(end - begin), err);
            if (code != LS_OK)
                return code;
        }
        if (*at == '#')
            at += strcspn(at, "\n");
        if (*at == '\n')
            line++;
        if (*at)
            at++;
    }
    if (net->n_layers == 0)
        return ls_fail(err, LS_USAGE, "--net: no layer in '%.60s'",
                       source->file ? source->file : source->text);
    return LS_OK;
}

static int count_separators(const char *text)
{
    int n = 1;
    for (; *text; text++)
        n += *text == ',' || *text == '\n';
    return n < MAX_LAYERS ? n : MAX_LAYERS;
}

/* An activation behind a layer that can end in one becomes part of it. */
static void fuse_activations(struct ls_net *net)
{
    for (int i = 1; i < net->n_layers; i++) {
        struct ls_layer *before = &net->layers[i - 1], *layer = &net->layers[i];
        if (before->kind->fuses_activation && before->activation == LS_ACT_NONE &&
            layer->activation != LS_ACT_NONE && !layer->kind->fuses_activation) {
            before->activation = layer->activation;
            layer->fused = 1;
        }
    }
}

static enum ls_code infer_shapes(struct ls_net *net, struct ls_error *err)
{
    struct ls_shape shape = net->in;
    for (int i = 0; i < net->n_layers; i++) {
        struct ls_layer *layer = &net->layers[i];
        struct ls_parameter *tensors = net->tensors + net->n_tensors;
        layer->in = shape;
        layer->first_tensor = net->n_tensors;
        const enum ls_code code = explain(layer, layer->kind->infer(layer, tensors, err), err);
        if (code != LS_OK)
            return code;
        for (int t = 0; t < layer->n_tensors; t++) {
            char role[24];
            snprintf(role, sizeof role, "%.20s", tensors[t].name);
            snprintf(tensors[t].name, sizeof tensors[t].name, "%d.%s", i, role);
            tensors[t].offset = net->n_floats;
            net->n_parameters += tensors[t].count;
            net->n_floats += (tensors[t].count + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
            if (net->n_floats > PTRDIFF_MAX / 64)
                return ls_fail(err, LS_USAGE, "%s ('%s'): more parameters than memory can hold", layer->where,
                               layer->text);
        }
        net->n_tensors += layer->n_tensors;
        shape = layer->out;
    }
    net->out = shape;
    return LS_OK;
}

static enum ls_code write_canonical_text(struct ls_net *net, struct ls_error *err)
{
    size_t bytes = 1;
    for (int i = 0; i < net->n_layers; i++)
        bytes += strlen(net->layers[i].text) + 2;
    net->text = ls_alloc(bytes, 1, "net text", err);
    if (!net->text)
        return LS_FAILED;
    size_t used = 0;
    for (int i = 0; i < net->n_layers; i++) {
        /* Blanks are folded, so that the same net has the same text. */
        char copy[sizeof net->layers[i].text], *words[LS_LAYER_WORDS];
        memcpy(copy, net->layers[i].text, sizeof copy);
        const int n_words = split_words(copy, words);
        for (int w = 0; w < n_words; w++)
            used += (size_t)snprintf(net->text + used, bytes - used, "%s%s",
                                     w   ? " "
                                     : i ? ", "
                                         : "",
                                     words[w]);
    }
    return LS_OK;
}

enum ls_code ls_net_create(struct ls_net *net, const char *text, struct ls_shape in, struct ls_error *err)
{
    *net = (struct ls_net){.in = in};
    struct source source;
    enum ls_code code = open_source(&source, text, err);
    if (code != LS_OK)
        goto done;
    const size_t most = (size_t)count_separators(source.text);
    net->layers = ls_alloc(most, sizeof *net->layers, "layers", err);
    net->tensors = ls_alloc(most * LS_LAYER_TENSORS, sizeof *net->tensors, "tensors", err);
    if (!net->layers || !net->tensors) {
        code = LS_FAILED;
        goto done;
    }
    code = parse_list(net, &source, err);
    if (code == LS_OK)
        code = write_canonical_text(net, err);
    if (code == LS_OK)
        code = infer_shapes(net, err);
    if (code == LS_OK)
        fuse_activations(net);
done:
    ls_free(source.text);
    return code;
}

void ls_net_release(struct ls_net *net)
{
    if (!net)
        return;
    ls_free(net->text);
    ls_free(net->layers);
    ls_free(net->tensors);
    *net = (struct ls_net){0};
}

enum ls_code ls_net_hash(const struct ls_net *net, const float *parameters, struct ls_hash *hash,
                         struct ls_error *err)
{
    struct ls_hasher *hasher = ls_hasher_create();
    if (!hasher)
        return ls_fail(err, LS_FAILED, "out of memory for a hash");
    for (int t = 0; t < net->n_tensors; t++)
        ls_hasher_add(hasher, parameters + net->tensors[t].offset,
                      (size_t)net->tensors[t].count * sizeof(float));
    *hash = ls_hasher_end(hasher);
    ls_hasher_destroy(&hasher);
    return LS_OK;
}

struct ls_hash ls_parameter_hash(const struct ls_parameter *tensor, const float *flat)
{
    return ls_hash_bytes(flat + tensor->offset, (size_t)tensor->count * sizeof(float));
}

const struct ls_parameter *ls_net_find_nonfinite(const struct ls_net *net, const float *flat,
                                                 ptrdiff_t *element)
{
    for (int t = 0; t < net->n_tensors; t++)
        for (ptrdiff_t i = 0; i < net->tensors[t].count; i++)
            if (!__builtin_isfinite(flat[net->tensors[t].offset + i])) {
                *element = i;
                return &net->tensors[t];
            }
    return NULL;
}
