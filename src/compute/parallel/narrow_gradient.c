/* Weight gradients of layers with few outputs, as the last of a classifier.
 *
 * The usual tile has the outputs in its vectors, of which ten fill little, and strides through x by columns.
 * Here the tile is that of the transpose, dz^T x: outputs are its rows, vectors hold neighbouring inputs, and
 * x is read along its rows, each line once.
 *
 * Threads share out leaves where a batch has many for so few weights: then each reads the rows of x that it
 * gathered and multiplied itself, and what travels between cores is a sum over its leaves, far smaller than
 * x.  The leaves of a thread are whole subtrees of 2^p, kept apart, and a second job finishes the tree over
 * them (contract rule 3): the cut cannot be seen. */
#include "compute/parallel/narrow_gradient.h"

#include <string.h>

#include "base/contract.h"
#include "compute/parallel/subtrees.h"
#include "compute/parallel/tile.h"
#include "compute/parallel/transpose.h"

#ifdef LS_WIDE_TILES
enum { VECTORS = 2 };
#else
enum { VECTORS = 1 };
#endif
enum {
    WIDTH = VECTORS * VEC,
    MOST_SUBTREES = 64,
    /* With so many samples an output, leaves are shared out: x is larger than sums of it. */
    WORTH_SHARING = 8
};

struct narrow {
    struct ls_dense_shape shape;
    ptrdiff_t m, leaves;
    float *dw, *db;
    const float *x, *dz;
    ptrdiff_t subtree; /* leaves of one; all of them: threads share out inputs instead */
    float **sums;      /* of each subtree, in the scratch of a thread: (N, K) and behind it (N) */
};

static ptrdiff_t floats_of(const struct ls_dense_shape *shape)
{
    return (shape->N * (shape->K + 1) + LINE - 1) / LINE * LINE;
}

/* Leaves [begin, end), a whole tree or subtree, inputs [k, k + width), width <= WIDTH. */
LS_ALWAYS_INLINE void narrow_tile(const int rows, const int vectors, const struct narrow *g,
                                  struct range leaves, ptrdiff_t k, int last, float *to)
{
    const ptrdiff_t K = g->shape.K, N = g->shape.N, B = g->shape.B;
    float *stack = scratch_of_thread()->stack;
    struct tile_left dz = {g->dz + leaves.begin * g->m * N, 1, N};
    struct tile_right x = {g->x + leaves.begin * g->m * K + k, K, last};
    for (ptrdiff_t leaf = leaves.begin; leaf < leaves.end; leaf++) {
        const ptrdiff_t left = B - leaf * g->m, samples = left < g->m ? left : g->m,
                        nth = leaf - leaves.begin;
        tile acc;
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vec_zero();
        if (last == VEC)
            tile_fold(rows, vectors, acc, samples, dz, (struct tile_right){x.p, K, VEC});
        else
            tile_fold(rows, vectors, acc, samples, dz, x);
        dz.p += samples * N;
        x.p += samples * K;
        const bool final = leaf + 1 == leaves.end;
        float *level = tile_push(rows, vectors, acc, nth, final, stack);
        LS_UNROLL
        for (int r = 0; r < rows; r++) {
            if (final)
                row_store(vectors, to + r * K + k, acc[r], last);
            else
                row_store(vectors, level + r * vectors * VEC, acc[r], VEC);
        }
    }
}
_Static_assert((int)LS_TREE_LEVELS *TILE_FLOATS <= (int)LS_SCRATCH_STACK, "one tile's whole stack fits");

#define DEFINE(R, V)                                                                                         \
    static void narrow_##R##x##V(const struct narrow *g, struct range leaves, ptrdiff_t k, int last,         \
                                 float *to)                                                                  \
    {                                                                                                        \
        narrow_tile(R, V, g, leaves, k, last, to);                                                           \
    }
#define ENTRY(R, V) narrow_##R##x##V,
LS_EACH_HEIGHT_12(DEFINE, 1)
#ifdef LS_WIDE_TILES
LS_EACH_HEIGHT_12(DEFINE, 2)
#endif
typedef void narrow_body(const struct narrow *g, struct range leaves, ptrdiff_t k, int last, float *to);
static narrow_body *const narrow_tiles[VECTORS][MOST_ROWS] = {
    {LS_EACH_HEIGHT_12(ENTRY, 1)},
#ifdef LS_WIDE_TILES
    {LS_EACH_HEIGHT_12(ENTRY, 2)},
#endif
};

/* sums[j][k] of these leaves and inputs. */
static void sum_inputs(const struct narrow *g, struct range leaves, struct range inputs, float *sums)
{
    for (ptrdiff_t k = inputs.begin; k < inputs.end; k += WIDTH) {
        const int columns = inputs.end - k < WIDTH ? (int)(inputs.end - k) : WIDTH;
        const int vectors = (columns + VEC - 1) / VEC;
        narrow_tiles[vectors - 1][g->shape.N - 1](g, leaves, k, columns - (vectors - 1) * VEC, sums);
    }
}

/* The bias's sums over these leaves. */
static void sum_bias(const struct narrow *g, struct range leaves, float *sums)
{
    const ptrdiff_t N = g->shape.N;
    float stack[LS_TREE_LEVELS][MOST_ROWS];
    const float *dz = g->dz + leaves.begin * g->m * N;
    for (ptrdiff_t leaf = leaves.begin; leaf < leaves.end; leaf++) {
        const ptrdiff_t left = g->shape.B - leaf * g->m, samples = left < g->m ? left : g->m;
        float acc[MOST_ROWS] = {0};
        for (ptrdiff_t b = 0; b < samples; b++, dz += N)
            for (ptrdiff_t j = 0; j < N; j++)
                acc[j] = acc[j] + dz[j];
        const int final = leaf + 1 == leaves.end;
        int level = 0;
        for (ptrdiff_t digits = leaf - leaves.begin; digits && (final || digits & 1); digits >>= 1, level++)
            for (ptrdiff_t j = 0; digits & 1 && j < N; j++)
                acc[j] = stack[level][j] + acc[j];
        memcpy(final ? sums : stack[level], acc, (size_t)N * sizeof *acc);
    }
}

/* All leaves, each thread some inputs. */
static int64_t inputs_part(const void *job, int thread, int threads)
{
    struct narrow own = *(const struct narrow *)job;
    const struct range leaves = {0, own.leaves}, inputs = range_part(own.shape.K, LINE, thread, threads);
    float *sums = scratch_of_thread()->panels;
    own.x = copy_of_thread(own.x, own.shape.x, thread);
    sum_inputs(&own, leaves, inputs, sums);
    LS_PER_ISA(ls_transpose_rows)(own.shape.N, own.shape.K, inputs, own.dw, sums);
    if (own.db && thread == threads - 1)
        sum_bias(&own, leaves, own.db);
    return 0;
}

/* All inputs, each thread some subtrees. */
static int64_t leaves_part(const void *job, int thread, int threads)
{
    struct narrow own = *(const struct narrow *)job;
    const struct range mine = range_part(subtrees_of(own.leaves, own.subtree), 1, thread, threads);
    float *sums = scratch_of_thread()->panels;
    own.x = copy_of_thread(own.x, own.shape.x, thread);
    for (ptrdiff_t s = mine.begin; s < mine.end; s++, sums += floats_of(&own.shape)) {
        const struct range leaves = subtree_leaves(own.leaves, own.subtree, s);
        sum_inputs(&own, leaves, (struct range){0, own.shape.K}, sums);
        if (own.db)
            sum_bias(&own, leaves, sums + own.shape.N * own.shape.K);
        own.sums[s] = sums;
    }
    return 0;
}

static int64_t finish_part(const void *job, int thread, int threads)
{
    const struct narrow *g = job;
    const ptrdiff_t K = g->shape.K, N = g->shape.N, n = subtrees_of(g->leaves, g->subtree);
    const struct range mine = range_part(K, LINE, thread, threads);
    for (ptrdiff_t k = mine.begin; k < mine.end; k += STRETCH) {
        const ptrdiff_t inputs = mine.end - k < STRETCH ? mine.end - k : STRETCH;
        for (ptrdiff_t j = 0; j < N; j++) {
            float sums[STRETCH];
            tree_of(g->sums, 1, 0, n, j * K + k, inputs, sums);
            for (ptrdiff_t i = 0; i < inputs; i++)
                g->dw[(k + i) * N + j] = sums[i];
        }
    }
    if (g->db && thread == threads - 1)
        tree_of(g->sums, 1, 0, n, N * K, N, g->db);
    return 0;
}

/* Leaves of a subtree; all leaves, when inputs are better shared out. */
static ptrdiff_t narrow_subtree(const struct ls_dense_shape *shape, ptrdiff_t leaves, ptrdiff_t threads)
{
    const ptrdiff_t room = LS_SCRATCH_PANELS / floats_of(shape);
    if (threads == 1 || shape->B < WORTH_SHARING * shape->N)
        return leaves;
    return subtree_for(leaves, threads, room < MOST_SUBTREES ? room : MOST_SUBTREES);
}

int LS_PER_ISA(ls_gradient_is_narrow)(struct ls_dense_shape shape)
{
    return shape.N <= MOST_ROWS && shape.K > shape.N && floats_of(&shape) <= LS_SCRATCH_PANELS;
}

void LS_PER_ISA(ls_narrow_gradient)(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                    const float *x, const float *dz)
{
    const ptrdiff_t leaves = (shape.B - 1) / m + 1;
    float *sums[MOST_SUBTREES];
    const struct narrow g = {.shape = shape,
                             .m = m,
                             .leaves = leaves,
                             .dw = dw,
                             .db = db,
                             .x = x,
                             .dz = dz,
                             .subtree = narrow_subtree(&shape, leaves, ls_ops_threads()),
                             .sums = sums};
    const double work_ns = (double)shape.B * (double)shape.K * (double)shape.N / 40.0;
    if (g.subtree >= leaves) {
        team_run(work_ns, inputs_part, &g);
        return;
    }
    team_run(work_ns, leaves_part, &g);
    team_run((double)shape.K * (double)shape.N * (double)subtrees_of(leaves, g.subtree) * 0.5, finish_part,
             &g);
}
