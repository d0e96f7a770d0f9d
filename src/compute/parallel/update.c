/* The updates of parameters in one pass over memory, and the sums of squares that norms need.
 *
 * Each combination of flags that an update may have is a loop of its own, inlined with the flags as
 * constants, in plain C that the compiler makes vectors of.  Where leaving a term out cannot be told from a
 * neutral factor (times 1, no more than infinity) there is no flag: only plain descent, which moves so few
 * bytes an element that it would show, has one for all of these.
 *
 * Subnormals (contract rule 1 keeps them) cost a processor some 150 cycles an operation, and momentum makes
 * them: the velocity of a unit that has died, whose gradient is zero for good, decays into them and stays
 * there, as 0.9 times the least of them rounds to itself.  A stretch that holds some goes through a loop that
 * finds the same bits without giving them to a floating-point unit. */
#include "compute/parallel/update.h"

#include "base/contract.h"
#include "base/elementary.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/team.h"

struct update {
    const struct ls_update *rule;
    ptrdiff_t rows, columns;
    float *w, *velocity, *square;
    const float *sum;
    float *direction; /* of adam_direction, which only reads the parameters: */
    const float *read_w;
};

/* What a loop is compiled for. */
struct flags {
    enum ls_update_kind kind;
    int shaped; /* clipped gradients, decoupled decay */
    int decay, momentum, nesterov, direction;
    int careful; /* with subnormals in the state */
};

/* The values of a rule that loops read, in registers. */
struct numbers {
    float scale, factor, limit, decay, keep, step, momentum, beta1, rest1, beta2, rest2, epsilon, correction1,
        correction2;
};

static struct numbers numbers_of(const struct ls_update *rule)
{
    return (struct numbers){.scale = rule->gradient_scale,
                            .factor = rule->clip_factor,
                            .limit = rule->clip_value != 0.0f ? rule->clip_value : __builtin_inff(),
                            .decay = rule->weight_decay,
                            .keep = rule->keep,
                            .step = -rule->rate,
                            .momentum = rule->momentum,
                            .beta1 = rule->beta1,
                            .rest1 = 1.0f - rule->beta1,
                            .beta2 = rule->beta2,
                            .rest2 = 1.0f - rule->beta2,
                            .epsilon = rule->epsilon,
                            .correction1 = rule->correction1,
                            .correction2 = rule->correction2};
}

LS_ALWAYS_INLINE float clipped(float g, const struct numbers n)
{
    g = g * n.factor;
    g = n.limit < g ? n.limit : g; /* a NaN stays one */
    return -n.limit > g ? -n.limit : g;
}

LS_ALWAYS_INLINE uint32_t magnitude(float x)
{
    return ls_bits(x) & 0x7fffffffu;
}

LS_ALWAYS_INLINE int is_subnormal(float x)
{
    return magnitude(x) - 1 < 0x007fffffu;
}

static int any_subnormal(ptrdiff_t n, const float *x)
{
    uint32_t least = UINT32_MAX;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t t = magnitude(x[i]) - 1; /* a zero becomes the largest */
        least = t < least ? t : least;
    }
    return least < 0x007fffffu;
}

/* Bounds within which the careful loop's shortcuts are exact: 2^-100 is so much larger than a subnormal,
 * 2^-40 so much larger than what a step makes of one, that the smaller is less than a quarter of the larger's
 * last digit. */
#define LEAST_BESIDE 0x0d800000u /* 2^-100 */
#define LEAST_MOVED 0x2b800000u  /* 2^-40 */

static int careful_is_exact(const struct ls_update *rule, const struct flags is)
{
    const int decays = is.kind == LS_UPDATE_ADAM || is.momentum, adapts = is.kind >= LS_UPDATE_ADAGRAD;
    const float keep = is.kind == LS_UPDATE_ADAM ? rule->beta1 : rule->momentum;
    return rule->rate >= 0.0f && rule->rate <= 0x1p10f && (!decays || (keep > 0.0f && keep <= 1.0f)) &&
           (!adapts ||
            ((rule->beta2 > 0.0f || is.kind == LS_UPDATE_ADAGRAD) && rule->beta2 <= 1.0f &&
             rule->epsilon >= 0x1p-30f && rule->correction1 <= 0x1p10f && rule->correction2 <= 0x1p8f));
}

/* +0 if so, else x.  On bits: of two results to choose from, the compiler computes both. */
LS_ALWAYS_INLINE float zero_if(int so, float x)
{
    return ls_float(ls_bits(x) & ((uint32_t)so - 1));
}

/* fma(mu, v, g), 0 < mu <= 1.  A subnormal v beside a g of at least 2^-100 cannot be seen.  Beside a zero, v
 * is a whole number of 2^-149, below 2^23: adding 2^23 to mu times that number rounds it to a whole number
 * again, once and to even, which then are the result's bits. */
LS_ALWAYS_INLINE float decayed(float mu, float v, float g, const struct flags is)
{
    if (!is.careful)
        return ls_fma(mu, v, g);
    const int small = is_subnormal(v), alone = magnitude(g) == 0, beside = magnitude(g) >= LEAST_BESIDE;
    const float sum = ls_fma(mu, zero_if(small & (alone | beside), v), g);
    const int32_t whole = small ? (int32_t)magnitude(v) : 0;
    const uint32_t left = ls_bits(ls_fma(mu, (float)whole, 0x1p23f)) - 0x4b000000u;
    return small & alone ? ls_float((ls_bits(v) & 0x80000000u) | left) : sum;
}

/* What stands for a subnormal q where it would move w: a zero, unless w is so small that it could be seen. */
LS_ALWAYS_INLINE float mover(float q, float w, const struct flags is)
{
    return is.careful ? zero_if(is_subnormal(q) & (magnitude(w) >= LEAST_MOVED), q) : q;
}

/* The root of s, to be multiplied and added to epsilon: that of a subnormal is below 2^-63. */
LS_ALWAYS_INLINE float root(float s, const struct flags is)
{
    return __builtin_sqrtf(is.careful ? zero_if(is_subnormal(s), s) : s);
}

LS_ALWAYS_INLINE void moments(float *v, float *s, float g, const struct numbers n, const struct flags is)
{
    *v = decayed(n.beta1, *v, n.rest1 * g, is);
    *s = decayed(n.beta2, *s, n.rest2 * (g * g), is);
}

/* The new parameter; v and s are this element's state. */
LS_ALWAYS_INLINE float follow(float w, float *v, float *s, float g, const struct numbers n,
                              const struct flags is)
{
    float q = g;
    switch (is.kind) {
    case LS_UPDATE_SGD:
        break;
    case LS_UPDATE_LARS:
        if (!is.momentum)
            break;
        *v = decayed(n.momentum, *v, -n.step * g, is);
        return w - mover(*v, w, is);
    case LS_UPDATE_ADAGRAD:
        *s = ls_fma(g, g, *s);
        return ls_fma(n.step, g / (root(*s, is) + n.epsilon), w);
    case LS_UPDATE_RMSPROP:
        *s = decayed(n.beta2, *s, n.rest2 * (g * g), is);
        q = g / (root(*s, is) + n.epsilon);
        break;
    case LS_UPDATE_ADAM:
        moments(v, s, g, n, is);
        return ls_fma(n.step, mover(*v, w, is) / ls_fma(root(*s, is), n.correction2, n.epsilon), w);
    }
    if (is.momentum) {
        *v = decayed(n.momentum, *v, q, is);
        q = is.nesterov ? decayed(n.momentum, *v, q, is) : *v;
    }
    return ls_fma(n.step, mover(q, w, is), w);
}

/* As long as a stretch is looked at for subnormals, and short enough to be in L1 when it is updated; a count
 * within it cannot overflow, and is as wide as a float. */
enum { STRETCH = 1024 };

LS_ALWAYS_INLINE int32_t update_stretch(const struct update *u, struct range r, const struct numbers n,
                                        const struct flags is)
{
    const int has_velocity = is.momentum || is.kind == LS_UPDATE_ADAM,
              has_square = is.kind >= LS_UPDATE_ADAGRAD;
    float *restrict w = u->w, *restrict v = u->velocity, *restrict s = u->square;
    const float *restrict sum = u->sum;
    int32_t not_finite = 0;
    for (ptrdiff_t at = r.begin; at < r.end; at++) {
        float g = sum[at] * n.scale, old = w[at];
        float velocity = has_velocity ? v[at] : 0.0f, square = has_square ? s[at] : 0.0f;
        if (is.shaped)
            g = clipped(g, n);
        if (is.decay)
            g = ls_fma(n.decay, old, g);
        if (is.shaped)
            old = old * n.keep;
        const float new = follow(old, &velocity, &square, g, n, is);
        if (has_velocity)
            v[at] = velocity;
        if (has_square)
            s[at] = square;
        w[at] = new;
        not_finite += (ls_bits(new) & 0x7f800000u) == 0x7f800000u;
    }
    return not_finite;
}

/* Few weights are read by all threads, and each line must be claimed again before it is written: all of a
 * stretch at once, as store after store waits for it (of 784-10 on two threads 6.3 us, so 1.5).  Of more
 * weights a thread has its own, or memory is what it waits for. */
enum { FEW_WEIGHTS = 32 * 1024 };

LS_ALWAYS_INLINE void claim(const float *w, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LINE)
#ifdef __x86_64__ /* of the builtin, compilers make a fetch for reading unless told of the newest processors \
                   */
        __asm__ volatile("prefetchw %0" : : "m"(w[i]));
#else
        __builtin_prefetch(w + i, 1);
#endif
}

LS_ALWAYS_INLINE int64_t update_range(const struct update *u, struct range r, struct flags is)
{
    const int few = u->rows * u->columns <= FEW_WEIGHTS;
    const struct numbers n = numbers_of(u->rule);
    const int may = careful_is_exact(u->rule, is);
    int64_t not_finite = 0;
    for (ptrdiff_t at = r.begin, end; at < r.end; at = end) {
        end = r.end - at < STRETCH ? r.end : at + STRETCH;
        const struct range stretch = {at, end};
        if (few)
            claim(u->w + at, end - at);
        const int subnormals =
            ((is.momentum || is.kind == LS_UPDATE_ADAM) && any_subnormal(end - at, u->velocity + at)) ||
            (is.kind >= LS_UPDATE_ADAGRAD && any_subnormal(end - at, u->square + at));
        is.careful = 0;
        if (!may || !subnormals) {
            not_finite += update_stretch(u, stretch, n, is);
            continue;
        }
        is.careful = 1;
        not_finite += update_stretch(u, stretch, n, is);
    }
    return not_finite;
}

LS_ALWAYS_INLINE int64_t direction_range(const struct update *u, struct range r, const struct flags is)
{
    const struct numbers n = numbers_of(u->rule);
    float *restrict v = u->velocity, *restrict s = u->square, *restrict direction = u->direction;
    const float *restrict sum = u->sum, *restrict w = u->read_w;
    for (ptrdiff_t at = r.begin; at < r.end; at++) {
        float velocity = v[at], square = s[at];
        moments(&velocity, &square, clipped(sum[at] * n.scale, n), n, is);
        v[at] = velocity;
        s[at] = square;
        const float q =
            (velocity * n.correction1) / ls_fma(__builtin_sqrtf(square), n.correction2, n.epsilon);
        direction[at] = is.decay ? ls_fma(n.decay, w[at], q) : q;
    }
    return 0;
}

LS_ALWAYS_INLINE int64_t part_of(const struct update *u, struct range r, const struct flags is)
{
    return is.direction ? direction_range(u, r, is) : update_range(u, r, is);
}

LS_ALWAYS_INLINE int64_t update_rectangle(const struct update *u, struct rectangle mine, struct flags is)
{
    const struct range rows = mine.rows, columns = mine.columns;
    int64_t not_finite = 0;
    /* Whole rows are one piece. */
    const int whole = columns.end - columns.begin == u->columns;
    const ptrdiff_t pieces = whole ? 1 : rows.end - rows.begin;
    for (ptrdiff_t i = 0; i < pieces; i++) {
        const ptrdiff_t row = rows.begin + i;
        const struct range piece =
            whole ? (struct range){rows.begin * u->columns, rows.end * u->columns}
                  : (struct range){row * u->columns + columns.begin, row * u->columns + columns.end};
        not_finite += part_of(u, piece, is);
    }
    return not_finite;
}

LS_ALWAYS_INLINE int64_t with_decay(const struct update *u, struct rectangle mine, struct flags is)
{
    is.decay = 0;
    if (u->rule->weight_decay == 0.0f)
        return update_rectangle(u, mine, is);
    is.decay = 1;
    return update_rectangle(u, mine, is);
}

LS_ALWAYS_INLINE int64_t with_momentum(const struct update *u, struct rectangle mine, struct flags is)
{
    if (u->rule->momentum == 0.0f)
        return with_decay(u, mine, is);
    is.momentum = 1;
    if (is.kind != LS_UPDATE_SGD || !u->rule->nesterov)
        return with_decay(u, mine, is);
    is.nesterov = 1;
    return with_decay(u, mine, is);
}

/* Cut as the weight gradient is: each core finds the sums, the weights and the velocity in its own cache. */
static int64_t update_part(const void *job, int thread, int threads)
{
    const struct update *u = job;
    const struct ls_update *rule = u->rule;
    const struct rectangle mine = rectangle_of(thread, threads, u->rows, u->columns, CUT_BETWEEN_ROWS);
    switch (rule->kind) {
    case LS_UPDATE_SGD:
        if (rule->clip_factor == 1.0f && rule->clip_value == 0.0f && rule->keep == 1.0f)
            return with_momentum(u, mine, (struct flags){.kind = LS_UPDATE_SGD});
        return with_momentum(u, mine, (struct flags){.kind = LS_UPDATE_SGD, .shaped = 1});
    case LS_UPDATE_LARS:
        return with_momentum(u, mine, (struct flags){.kind = LS_UPDATE_LARS, .shaped = 1});
    case LS_UPDATE_ADAGRAD:
        return with_decay(u, mine, (struct flags){.kind = LS_UPDATE_ADAGRAD, .shaped = 1});
    case LS_UPDATE_RMSPROP:
        return with_momentum(u, mine, (struct flags){.kind = LS_UPDATE_RMSPROP, .shaped = 1});
    case LS_UPDATE_ADAM:
        return with_decay(u, mine, (struct flags){.kind = LS_UPDATE_ADAM, .shaped = 1});
    }
    return 0;
}

static int64_t direction_part(const void *job, int thread, int threads)
{
    const struct update *u = job;
    const struct rectangle mine = rectangle_of(thread, threads, u->rows, u->columns, CUT_BETWEEN_ROWS);
    return with_decay(u, mine, (struct flags){.kind = LS_UPDATE_ADAM, .direction = 1});
}

int64_t LS_PER_ISA(ls_update)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                              float *velocity, float *square, const float *sum)
{
    const struct update u = {rule, rows, columns, w, velocity, square, sum, NULL, NULL};
    /* What a team summed lies in the caches of all: one thread took 12 us for 7,840 elements, 1.5 ns each,
     * that take it 0.2 ns from its own cache. */
    const double element_ns = 1.5;
    return team_run((double)(rows * columns) * element_ns, update_part, &u);
}

void LS_PER_ISA(ls_adam_direction)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns,
                                   float *direction, const float *w, float *velocity, float *square,
                                   const float *sum)
{
    const struct update u = {rule, rows, columns, NULL, velocity, square, sum, direction, w};
    team_run((double)(rows * columns) * 0.5, direction_part, &u);
}

/* Sums of squares: blocks side by side, as one block's 16 lanes are a chain of dependent additions. */
enum { LANE_VECTORS = LS_LANES / VEC, FLOCK = 4, MOST_BLOCKS = 1 << 15 };
_Static_assert((int)MOST_BLOCKS <= (int)LS_SCRATCH_STACK, "block sums are kept in a thread's scratch");

struct squares {
    ptrdiff_t n;
    const float *v;
    float factor;
    float *block_sums;
};

LS_ALWAYS_INLINE float lane_tree(float lane[LS_LANES])
{
    for (int width = LS_LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] = lane[2 * l] + lane[2 * l + 1];
    return lane[0];
}

/* `blocks` whole blocks from v on. */
LS_ALWAYS_INLINE void whole_blocks(float *sums, const float *v, float factor, const int blocks)
{
    vec lanes[FLOCK][LANE_VECTORS];
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < LANE_VECTORS; i++)
            lanes[b][i] = vec_zero();
    const vec scale = vec_all(factor);
    for (ptrdiff_t at = 0; at < LS_LANESUM_BLOCK; at += LS_LANES) {
        LS_UNROLL
        for (int b = 0; b < blocks; b++) {
            LS_UNROLL
            for (int i = 0; i < LANE_VECTORS; i++) {
                const vec t = vec_load(v + b * LS_LANESUM_BLOCK + at + i * VEC) * scale;
                lanes[b][i] = lanes[b][i] + t * t;
            }
        }
    }
    for (int b = 0; b < blocks; b++) {
        float lane[LS_LANES];
        for (int i = 0; i < LANE_VECTORS; i++)
            vec_store(lane + i * VEC, lanes[b][i]);
        sums[b] = lane_tree(lane);
    }
}

/* A last block that is short. */
static float short_block(ptrdiff_t n, const float *v, float factor)
{
    float lane[LS_LANES] = {0};
    for (ptrdiff_t at = 0; at < n; at += LS_LANES) {
        const ptrdiff_t end = n - at < LS_LANES ? n - at : LS_LANES;
        for (ptrdiff_t l = 0; l < end; l++) {
            const float t = v[at + l] * factor;
            lane[l] = lane[l] + t * t;
        }
    }
    return lane_tree(lane);
}

static int64_t squares_part(const void *job, int thread, int threads)
{
    const struct squares *s = job;
    const ptrdiff_t blocks = (s->n + LS_LANESUM_BLOCK - 1) / LS_LANESUM_BLOCK;
    const struct range r = range_part(blocks, 1, thread, threads);
    const ptrdiff_t whole = s->n / LS_LANESUM_BLOCK < r.end ? s->n / LS_LANESUM_BLOCK : r.end;
    ptrdiff_t b = r.begin;
    for (; b + FLOCK <= whole; b += FLOCK)
        whole_blocks(s->block_sums + b, s->v + b * LS_LANESUM_BLOCK, s->factor, FLOCK);
    for (; b < whole; b++)
        whole_blocks(s->block_sums + b, s->v + b * LS_LANESUM_BLOCK, s->factor, 1);
    for (; b < r.end; b++)
        s->block_sums[b] = short_block(s->n - b * LS_LANESUM_BLOCK, s->v + b * LS_LANESUM_BLOCK, s->factor);
    return 0;
}

void LS_PER_ISA(ls_square_blocks)(ptrdiff_t n, const float *v, float factor, float *sums)
{
    const struct squares s = {n, v, factor, sums};
    team_run((double)n * 0.05, squares_part, &s);
}

float LS_PER_ISA(ls_square_sum)(ptrdiff_t n, const float *v, float factor)
{
    const ptrdiff_t most = (ptrdiff_t)MOST_BLOCKS * LS_LANESUM_BLOCK;
    struct ls_tree tree = {.count = 0};
    for (ptrdiff_t at = 0; at < n; at += most) {
        const ptrdiff_t count = n - at < most ? n - at : most;
        float *sums = scratch_of_thread()->stack;
        LS_PER_ISA(ls_square_blocks)(count, v + at, factor, sums);
        for (ptrdiff_t b = 0; b < (count + LS_LANESUM_BLOCK - 1) / LS_LANESUM_BLOCK; b++)
            ls_tree_push(&tree, sums[b]);
    }
    return ls_tree_sum(&tree);
}
