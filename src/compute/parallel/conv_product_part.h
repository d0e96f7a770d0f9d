/* What a thread works on at a time in a forward or input-gradient convolution, and what it makes for that in
 * its scratch: packed weights, and where taps and pixels are. */
#ifndef LS_COMPUTE_PARALLEL_CONV_PRODUCT_PART_H
#define LS_COMPUTE_PARALLEL_CONV_PRODUCT_PART_H

#include "compute/parallel/conv_frame.h"
#include "compute/parallel/conv_product.h"
#include "compute/parallel/panel.h"

/* What a thread works on: columns of one group, a chunk of source channels, a piece of images. */
struct part {
    struct ls_scratch *scratch; /* this thread's */
    ptrdiff_t group, at;        /* first column */
    int columns;
    struct range depth; /* within the group */
    struct fit fit;
    struct piece piece, next; /* the piece whose tables and frame are in the scratch, and the one to come */
    struct range pooled;      /* images that a maxpool behind has had; none of others */
    struct frame frame;
};

/* Taps of all phases before (fy, fx), in their order. */
static inline ptrdiff_t taps_before(const struct conv_product *p, ptrdiff_t fy, ptrdiff_t fx)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t f = 0; f < fy; f++)
        n += axis_taps(&p->walk.y, f) * p->KW;
    for (ptrdiff_t f = 0; f < fx; f++)
        n += axis_taps(&p->walk.y, fy) * axis_taps(&p->walk.x, f);
    return n;
}

/* Packs `columns` columns from `at` of one phase, the chunk's depths. */
static inline void pack_phase(const struct conv_product *p, const struct part *part, float *panel,
                              ptrdiff_t at, int columns, ptrdiff_t fy, ptrdiff_t fx)
{
    const ptrdiff_t taps_y = axis_taps(&p->walk.y, fy), taps_x = axis_taps(&p->walk.x, fx);
    const ptrdiff_t window = p->KH * p->KW, depth = part->depth.end - part->depth.begin;
    const int width = whole_vectors(columns);
    if (!p->transposed && p->walk.order != VECTORS) {
        panel_pack(panel, depth * window, p->w + part->depth.begin * window * p->N + at, p->N, columns);
        return;
    }
    for (ptrdiff_t ty = 0; ty < taps_y; ty++)
        for (ptrdiff_t tx = 0; tx < taps_x; tx++, panel += width) {
            const ptrdiff_t tap = (fy + ty * p->walk.y.phases) * p->KW + fx + tx * p->walk.x.phases;
            if (p->walk.order == VECTORS) {
                panel_pack(panel, 1, p->w + tap * p->N + at, p->N, columns);
                continue;
            }
            const ptrdiff_t row = (at - part->group * p->columns) * window + tap;
            panel_pack_transposed(panel, taps_y * taps_x * width, depth,
                                  p->w + row * p->N + part->group * p->depth + part->depth.begin,
                                  window * p->N, columns);
        }
}

/* Packs the weights of a part, panel after panel, each phase after phase. */
static inline void pack_weights(const struct conv_product *p, const struct part *part)
{
    const ptrdiff_t depth = part->depth.end - part->depth.begin, all = depth * p->KH * p->KW;
    for (int from = 0; from < part->columns; from += p->panel) {
        const int columns = next_columns(from, part->columns, p->panel), width = whole_vectors(columns);
        for (ptrdiff_t fy = 0; fy < p->walk.y.phases; fy++)
            for (ptrdiff_t fx = 0; fx < p->walk.x.phases; fx++)
                pack_phase(p, part,
                           part->scratch->panels + from * all + taps_before(p, fy, fx) * depth * width,
                           part->at + from, columns, fy, fx);
    }
}

/* The scratch's taps: where the taps of all phases are, from a pixel's tap 0 of the chunk's first channel. */
static inline void find_taps(const struct conv_product *p, const struct part *part)
{
    const struct axis *y = &p->walk.y, *x = &p->walk.x;
    int32_t *to = part->scratch->taps;
    for (ptrdiff_t fy = 0; fy < y->phases; fy++)
        for (ptrdiff_t fx = 0; fx < x->phases; fx++)
            for (ptrdiff_t c = 0; c < part->depth.end - part->depth.begin; c++)
                for (ptrdiff_t ty = 0; ty < axis_taps(y, fy); ty++)
                    for (ptrdiff_t tx = 0; tx < axis_taps(x, fx); tx++)
                        *to++ = (int32_t)(c * part->frame.plane +
                                          (y->direction * ty * part->frame.width + x->direction * tx) *
                                              p->walk.unit);
}

/* The tables of a piece: its taps, and its pixels phase after phase. */
static inline void product_tables(const struct conv_product *p, const struct part *part)
{
    ptrdiff_t n = 0;
    find_taps(p, part);
    for (ptrdiff_t fy = 0; fy < p->walk.y.phases; fy++)
        for (ptrdiff_t fx = 0; fx < p->walk.x.phases; fx++) {
            find_pixels(part->scratch, &p->walk, part->frame, part->piece, fy, fx, p->to_channels, n);
            n += count_pixels(&p->walk, &part->piece, fy, fx);
        }
}

#endif
