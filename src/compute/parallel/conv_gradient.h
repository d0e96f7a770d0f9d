/* A convolution's weight gradient: what it is of, how its outputs are cut, and how threads share the work. */
#ifndef LS_COMPUTE_PARALLEL_CONV_GRADIENT_H
#define LS_COMPUTE_PARALLEL_CONV_GRADIENT_H

#include "compute/parallel/conv_frame.h"
#include "compute/parallel/conv_gradient_tile.h"
#include "compute/parallel/pool.h"

struct conv_gradient {
    struct walk walk;
    ptrdiff_t B, m;
    struct range leaves;              /* a whole tree or subtree */
    int levels;                       /* of a stack for them */
    ptrdiff_t groups, depth, columns; /* of a group: channels, columns; depthwise all is one */
    int panel;                        /* columns at a time: a vector depthwise, else CONV_PANEL */
    ptrdiff_t KH, KW, N;
    int slide; /* rows of dw that a sliding tile has together, or 1 */
    float *dw, *db;
    const float *dz;
    const struct ls_maxpool_gradient *pool; /* whose dx is dz, or NULL: dz is there */
    ptrdiff_t *made;                        /* with a pool: images before this one have their dz */
};

/* The pool's gradient of all images, by all threads. */
static inline void make_all(const struct ls_maxpool_gradient *pool)
{
    LS_PER_ISA(ls_maxpool_backward)(&pool->at, pool->dx, pool->dy, pool->act, pool->x);
}

/* The pool's gradient of images before `end`.  Only a thread that has these images to itself may ask. */
static inline void make_images(const struct conv_gradient *g, ptrdiff_t end)
{
    if (!g->pool || *g->made >= end)
        return;
    LS_PER_ISA(ls_maxpool_gradient_images)(g->pool, (struct range){*g->made, end});
    *g->made = end;
}

/* Of a tile, in rows, or in groups of them where it slides. */
static inline int tile_height(const struct conv_gradient *g, int vectors)
{
#ifdef LS_SLIDING_TILES
    if (g->slide > 1)
        return slide_groups[vectors];
#endif
    (void)g;
    return conv_rows(vectors);
}

/* Of the tree over so many leaves. */
static inline int levels_of(ptrdiff_t leaves)
{
    int levels = 0;
    while ((leaves - 1) >> levels)
        levels++;
    return levels;
}

/* Of dw, and db's. */
static inline ptrdiff_t rows_of(const struct conv_gradient *g)
{
    return g->depth * g->KH * g->KW + (g->db != NULL);
}

/* Rectangle `part` of `parts` of dw and db, cut between the rows of sliding tiles. */
static inline struct rectangle gradient_rectangle(const struct conv_gradient *g, int part, int parts)
{
    const ptrdiff_t rows = rows_of(g);
    struct rectangle r = rectangle_of(part, parts, (rows + g->slide - 1) / g->slide, g->N, CUT_BETWEEN_ROWS);
    r.rows.begin = r.rows.begin * g->slide < rows ? r.rows.begin * g->slide : rows;
    r.rows.end = r.rows.end * g->slide < rows ? r.rows.end * g->slide : rows;
    return r;
}

/* This rectangle, over g->leaves, to dw and db: conv_weight_gradient.c. */
void LS_PER_ISA(ls_conv_gradient_in)(const struct conv_gradient *g, struct rectangle mine);

/* All of it, by all threads; work_ns: about what it takes on one core: conv_gradient_share.c. */
void LS_PER_ISA(ls_conv_gradient_shared)(const struct conv_gradient *g, double work_ns);

#endif
