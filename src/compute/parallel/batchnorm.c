/* Batch normalisation from what is known of each channel: one pass over memory, in blocks of rows that stay
 * in L1 while their columns are done one group after the other, each group's numbers in registers. */
#include "base/contract.h"
#include "compute/parallel/channels.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/team.h"

struct batchnorm {
    ptrdiff_t rows, C;
    float *to;
    const float *x, *also, *dz, *mean, *inverse, *gamma, *beta, *sum_dzh, *sum_dz;
    float r;
    enum ls_activation act;
};

enum { BLOCK_FLOATS = 2048 };

/* to = fma(h, gamma, beta) + also of `some` columns a vector, VEC unless vectors == 1; relu fused. */
LS_ALWAYS_INLINE void forward_columns(const int vectors, const int whole, const int adds,
                                      const struct batchnorm *p, struct range rows, ptrdiff_t at, int some)
{
    vec mean[4], inverse[4], gamma[4], beta[4];
    LS_UNROLL
    for (int v = 0; v < vectors; v++) {
        mean[v] = vec_load_first(p->mean + at + v * VEC, some);
        inverse[v] = vec_load_first(p->inverse + at + v * VEC, some);
        gamma[v] = vec_load_first(p->gamma + at + v * VEC, some);
        beta[v] = vec_load_first(p->beta + at + v * VEC, some);
    }
    const int relu = p->act == LS_ACT_RELU;
    for (ptrdiff_t row = rows.begin; row < rows.end; row++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t i = row * p->C + at + v * VEC;
        const vec x = whole ? vec_load(p->x + i) : vec_load_first(p->x + i, some);
        vec y = vec_fma((x - mean[v]) * inverse[v], gamma[v], beta[v]);
        if (adds)
            y = y + (whole ? vec_load(p->also + i) : vec_load_first(p->also + i, some));
        if (relu)
            y = vec_if_positive(y, y);
        if (whole)
            vec_store(p->to + i, y);
        else
            vec_store_first(p->to + i, y, some);
    }
}

LS_ALWAYS_INLINE void gradient_columns(const int vectors, const int whole, const struct batchnorm *p,
                                       struct range rows, ptrdiff_t at, int some)
{
    vec mean[4], inverse[4], factor[4], slope[4], shift[4];
    LS_UNROLL
    for (int v = 0; v < vectors; v++) {
        mean[v] = vec_load_first(p->mean + at + v * VEC, some);
        inverse[v] = vec_load_first(p->inverse + at + v * VEC, some);
        factor[v] = vec_load_first(p->gamma + at + v * VEC, some) * inverse[v];
        slope[v] = vec_load_first(p->sum_dzh + at + v * VEC, some) * vec_all(p->r);
        shift[v] = vec_load_first(p->sum_dz + at + v * VEC, some) * vec_all(p->r);
    }
    for (ptrdiff_t row = rows.begin; row < rows.end; row++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t i = row * p->C + at + v * VEC;
        const vec x = whole ? vec_load(p->x + i) : vec_load_first(p->x + i, some);
        const vec dz = whole ? vec_load(p->dz + i) : vec_load_first(p->dz + i, some);
        const vec h = (x - mean[v]) * inverse[v];
        const vec dx = factor[v] * vec_fma(-h, slope[v], dz - shift[v]);
        if (whole)
            vec_store(p->to + i, dx);
        else
            vec_store_first(p->to + i, dx, some);
    }
}

LS_ALWAYS_INLINE void plain_columns(const int vectors, const int whole, const struct batchnorm *p,
                                    struct range rows, ptrdiff_t at, int some)
{
    forward_columns(vectors, whole, 0, p, rows, at, some);
}

LS_ALWAYS_INLINE void added_columns(const int vectors, const int whole, const struct batchnorm *p,
                                    struct range rows, ptrdiff_t at, int some)
{
    forward_columns(vectors, whole, 1, p, rows, at, some);
}

typedef void columns_body(const int vectors, const int whole, const struct batchnorm *p, struct range rows,
                          ptrdiff_t at, int some);

LS_ALWAYS_INLINE void each_group(const struct batchnorm *p, struct range rows, columns_body *body)
{
    ptrdiff_t at = 0;
    for (; p->C - at >= 4 * VEC; at += 4 * VEC)
        body(4, 1, p, rows, at, VEC);
    for (; p->C - at >= VEC; at += VEC)
        body(1, 1, p, rows, at, VEC);
    if (at < p->C)
        body(1, 0, p, rows, at, (int)(p->C - at));
}

static ptrdiff_t block_rows(const struct batchnorm *p)
{
    return p->C < BLOCK_FLOATS ? BLOCK_FLOATS / p->C : 1;
}

static int64_t forward_part(const void *job, int thread, int threads)
{
    const struct batchnorm *p = job;
    const struct range r = range_part(p->rows, 1, thread, threads);
    struct range block = {r.begin, r.begin};
    for (; block.begin < r.end; block.begin = block.end) {
        block.end = r.end - block.begin < block_rows(p) ? r.end : block.begin + block_rows(p);
        if (p->also)
            each_group(p, block, added_columns);
        else
            each_group(p, block, plain_columns);
        float *y = p->to + block.begin * p->C;
        if (p->act == LS_ACT_TANH || p->act == LS_ACT_SIGMOID)
            activate(p->act, 0.0f, (block.end - block.begin) * p->C, y, y);
    }
    return 0;
}

static int64_t gradient_part(const void *job, int thread, int threads)
{
    const struct batchnorm *p = job;
    const struct range r = range_part(p->rows, 1, thread, threads);
    struct range block = {r.begin, r.begin};
    for (; block.begin < r.end; block.begin = block.end) {
        block.end = r.end - block.begin < block_rows(p) ? r.end : block.begin + block_rows(p);
        each_group(p, block, gradient_columns);
    }
    return 0;
}

void LS_PER_ISA(ls_batchnorm_forward)(const struct ls_channels *shape, float *y, const float *x,
                                      const float *mean, const float *inverse, const float *gamma,
                                      const float *beta, const float *also, enum ls_activation act)
{
    const struct batchnorm p = {.rows = shape->B * shape->P,
                                .C = shape->C,
                                .to = y,
                                .x = x,
                                .mean = mean,
                                .inverse = inverse,
                                .gamma = gamma,
                                .beta = beta,
                                .also = also,
                                .act = act};
    team_run((double)p.rows * (double)p.C * (act > LS_ACT_RELU ? 1.0 : 0.2), forward_part, &p);
}

void LS_PER_ISA(ls_batchnorm_input_gradient)(const struct ls_channels *shape, float *dx, const float *dz,
                                             const float *x, const float *mean, const float *inverse,
                                             const float *gamma, const float *sum_dzh, const float *sum_dz,
                                             float r)
{
    const struct batchnorm p = {.rows = shape->B * shape->P,
                                .C = shape->C,
                                .to = dx,
                                .x = x,
                                .dz = dz,
                                .mean = mean,
                                .inverse = inverse,
                                .gamma = gamma,
                                .sum_dzh = sum_dzh,
                                .sum_dz = sum_dz,
                                .r = r};
    team_run((double)p.rows * (double)p.C * 0.3, gradient_part, &p);
}

/* A channel is too little work for a team. */
void LS_PER_ISA(ls_channel_deviation)(ptrdiff_t C, float *variance, float *inverse, const float *sum, float r,
                                      float epsilon)
{
    for (ptrdiff_t c = 0; c < C; c++) {
        const float v = sum[c] * r;
        variance[c] = v;
        inverse[c] = 1.0f / __builtin_sqrtf(v + epsilon);
    }
}
