/* Owns the window's words and its arithmetic.  See window.h. */
#include "layers/window.h"

#include <stdio.h>
#include <string.h>

enum ls_code ls_window_option(struct ls_layer *layer, int n_words, char *const *words, int *i, int *known,
                              struct ls_error *err)
{
    const char *word = words[*i];
    struct ls_window *at = &layer->conv.at;
    const int stride = strcmp(word, "stride") == 0;
    *known = stride || strcmp(word, "pad") == 0;
    if (!*known)
        return LS_OK;
    if (++*i == n_words)
        return ls_fail(err, LS_USAGE, "'%s' needs a number behind it: %s", word, layer->kind->usage);
    if (stride)
        return ls_word_to_pair(words[*i], "stride", 1, &at->SY, &at->SX, err);
    if (strcmp(words[*i], "same") == 0 && layer->kind == &ls_layer_conv) {
        layer->same = 1;
        return LS_OK;
    }
    return ls_word_to_pair(words[*i], "padding", 0, &at->PY, &at->PX, err);
}

enum ls_code ls_window_infer(struct ls_layer *layer, struct ls_error *err)
{
    struct ls_window *at = &layer->conv.at;
    char found[100];
    if (layer->in.n_dims != 2 && layer->in.n_dims != 3)
        return ls_fail(err, LS_USAGE,
                       "it needs an image, channels x height x width or height x width, and gets %s",
                       ls_shape_format(&layer->in, found, sizeof found));
    const struct ls_image image = ls_shape_image(&layer->in);
    at->C = image.C;
    at->H = image.H;
    at->W = image.W;
    if (at->KH > at->H + 2 * at->PY || at->KW > at->W + 2 * at->PX)
        return ls_fail(
            err, LS_USAGE,
            "its %tdx%td window needs an input of at least %tdx%td with padding %tdx%td, and gets %s", at->KH,
            at->KW, at->KH - 2 * at->PY > 1 ? at->KH - 2 * at->PY : 1,
            at->KW - 2 * at->PX > 1 ? at->KW - 2 * at->PX : 1, at->PY, at->PX,
            ls_shape_format(&layer->in, found, sizeof found));
    if (at->PY >= at->KH || at->PX >= at->KW)
        return ls_fail(err, LS_USAGE,
                       "padding %tdx%td would make windows of padding alone: it must be below the "
                       "window's %tdx%td",
                       at->PY, at->PX, at->KH, at->KW);
    at->OH = (at->H + 2 * at->PY - at->KH) / at->SY + 1;
    at->OW = (at->W + 2 * at->PX - at->KW) / at->SX + 1;
    return LS_OK;
}

struct ls_window ls_window_of(const struct ls_layer *layer, ptrdiff_t B)
{
    struct ls_window at = layer->conv.at;
    at.B = B;
    return at;
}
