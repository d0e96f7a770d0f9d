/* Rows in stretches of the 16 lanes of lanesum (contract rule 4), the same stretch on every ISA.  A last
 * stretch is padded with what changes no sum and no maximum, so a row of 10 is one pass over 16 lanes. */
#ifndef LS_COMPUTE_PARALLEL_LANES_H
#define LS_COMPUTE_PARALLEL_LANES_H

#include "base/contract.h"
#include "compute/parallel/vec.h"

enum { LANES = LS_LANES };

/* to[l] = from[l] for l < n, pad beyond; from is not read beyond n. */
LS_ALWAYS_INLINE void lanes_load(float to[LANES], const float *from, ptrdiff_t n, float pad)
{
    if (n >= LANES) {
        memcpy(to, from, LANES * sizeof *to);
        return;
    }
    for (int l = 0; l < LANES; l += VEC) {
        const ptrdiff_t some = n - l;
        vec_store(to + l, vec_load_first(some > 0 ? from + l : from, some > VEC ? VEC
                                                                     : some > 0 ? (int)some
                                                                                : 0));
    }
    for (int l = 0; l < LANES; l++)
        to[l] = l < n ? to[l] : pad;
}

LS_ALWAYS_INLINE void lanes_store(float *to, const float from[LANES], ptrdiff_t n)
{
    if (n >= LANES) {
        memcpy(to, from, LANES * sizeof *to);
        return;
    }
    for (int l = 0; l < n; l += VEC)
        vec_store_first(to + l, vec_load(from + l), n - l > VEC ? VEC : (int)(n - l));
}

/* tree(lane_0 ... lane_15), destroying them. */
LS_ALWAYS_INLINE float lanes_tree(float lane[LANES])
{
    LS_UNROLL
    for (int l = 0; l < 8; l++)
        lane[l] = lane[2 * l] + lane[2 * l + 1];
    LS_UNROLL
    for (int l = 0; l < 4; l++)
        lane[l] = lane[2 * l] + lane[2 * l + 1];
    return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

/* lanesum of a row whose terms come in stretches of 16. */
struct row_sum {
    float lane[LANES];
    struct ls_tree blocks;
};

LS_ALWAYS_INLINE void row_sum_start(struct row_sum *sum)
{
    memset(sum->lane, 0, sizeof sum->lane);
    sum->blocks.count = 0;
}

/* Terms `at` .. at + 15 of a row of N; those beyond the end are +0, which leaves a lane as it is. */
LS_ALWAYS_INLINE void row_sum_add(struct row_sum *sum, ptrdiff_t at, ptrdiff_t N, const float term[LANES])
{
    for (int l = 0; l < LANES; l++)
        sum->lane[l] = sum->lane[l] + (l < N - at ? term[l] : 0.0f);
    if ((at + LANES) % LS_LANESUM_BLOCK == 0 && at + LANES < N) {
        ls_tree_push(&sum->blocks, lanes_tree(sum->lane));
        memset(sum->lane, 0, sizeof sum->lane);
    }
}

LS_ALWAYS_INLINE float row_sum_end(struct row_sum *sum)
{
    const float last = lanes_tree(sum->lane);
    if (sum->blocks.count == 0)
        return last;
    ls_tree_push(&sum->blocks, last);
    return ls_tree_sum(&sum->blocks);
}

/* The largest of a row.  Which one a NaN makes of it does not matter: its exponential is NaN whatever is
 * subtracted. */
static inline float row_max(ptrdiff_t N, const float *z)
{
    float top[LANES], next[LANES];
    lanes_load(top, z, N, -__builtin_inff());
    for (ptrdiff_t at = LANES; at < N; at += LANES) {
        lanes_load(next, z + at, N - at, -__builtin_inff());
        for (int l = 0; l < LANES; l++)
            top[l] = next[l] > top[l] ? next[l] : top[l];
    }
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            top[l] = top[l + width] > top[l] ? top[l + width] : top[l];
    return top[0];
}

/* The 16 lanes as vectors: sums of a row stay in registers from one stretch to the next. */
enum { LANE_VECTORS = LANES / VEC };
struct lanes {
    vec v[LANE_VECTORS];
};

/* p[l] for l < n, +0 beyond; nothing is read there. */
LS_ALWAYS_INLINE struct lanes lanes_get(const float *p, ptrdiff_t n)
{
    struct lanes x;
    LS_UNROLL
    for (int i = 0; i < LANE_VECTORS; i++) {
        const ptrdiff_t left = n - i * VEC;
        x.v[i] = left >= VEC ? vec_load(p + i * VEC)
                 : left > 0  ? vec_load_first(p + i * VEC, (int)left)
                             : vec_zero();
    }
    return x;
}

LS_ALWAYS_INLINE void lanes_put(float *p, struct lanes x, ptrdiff_t n)
{
    LS_UNROLL
    for (int i = 0; i < LANE_VECTORS; i++) {
        const ptrdiff_t left = n - i * VEC;
        if (left >= VEC)
            vec_store(p + i * VEC, x.v[i]);
        else if (left > 0)
            vec_store_first(p + i * VEC, x.v[i], (int)left);
    }
}

/* x[l] for l < n, else elsewhere. */
LS_ALWAYS_INLINE vec vec_first_or(vec x, ptrdiff_t n, vec elsewhere)
{
    static const int32_t places[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vec_bits place;
    memcpy(&place, places, sizeof place);
    const vec_bits mask = (vec_bits)(place < (int32_t)(n < VEC ? n : VEC));
    return (vec)((mask & (vec_bits)x) | (~mask & (vec_bits)elsewhere));
}

LS_ALWAYS_INLINE struct lanes lanes_first_or(struct lanes x, ptrdiff_t n, float elsewhere)
{
    LS_UNROLL
    for (int i = 0; i < LANE_VECTORS && n < LANES; i++)
        x.v[i] = vec_first_or(x.v[i], n - i * VEC, vec_all(elsewhere));
    return x;
}

#endif
