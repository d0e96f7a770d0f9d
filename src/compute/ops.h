/* The table of operations: everything that touches a weight, an activation or a loss.
 *
 * Two implementations fill it.  `serial` is the oracle: scalar loops that read like the formulas below.
 * `parallel` is OpenMP loops over SIMD register tiles, compiled once an ISA.  They must agree to the last
 * bit, for every shape; each formula below therefore fixes the order of every sum (README.md in this folder
 * is the whole contract).
 *
 * Dimension alphabet, here and in every kernel:
 *   B samples (rows) of this call   m samples in a leaf (microbatch)
 *   K inputs of a layer             N outputs of a layer (of the last one: classes or targets)
 * Matrices are dense and row-major; pointers need no alignment; buffers of one call never overlap unless said
 * so.  All functions are local (no communication), allocate nothing, and accept B == 0.  K >= 1, N >= 1, m
 * >= 1. fold(init; k: a_k, b_k) means acc = init; for k ascending acc = fma(a_k, b_k, acc). */
#ifndef LS_COMPUTE_OPS_H
#define LS_COMPUTE_OPS_H

#include <stddef.h>
#include <stdint.h>

enum ls_activation { LS_ACT_NONE, LS_ACT_RELU, LS_ACT_TANH, LS_ACT_SIGMOID };

enum ls_loss {
    LS_LOSS_SOFTMAX,      /* softmax cross-entropy on logits, integer labels */
    LS_LOSS_SQUARED,      /* sum over j of (z_j - t_j)^2 */
    LS_LOSS_HALF_SQUARED, /* half of that */
    LS_LOSS_BCE,          /* binary cross-entropy on logits, summed over j */
};

struct ls_dense_shape {
    ptrdiff_t B, K, N;
};

/* What a batch is compared with: exactly one pointer is set.  labels (B): class of each sample, 0 <= label <
 * max(N, 2); for losses that need one number an output they stand for one-hot rows, or with N == 1 for the
 * number itself. values (B, N): numbers, not for LS_LOSS_SOFTMAX. */
struct ls_targets {
    const int32_t *labels;
    const float *values;
};

struct ls_sgd {
    float gradient_scale; /* r = 1.0f / (float)global_batch */
    float learning_rate;
    float momentum; /* 0: velocity is neither read nor written and may be NULL */
    float weight_decay;
    int nesterov;
};

struct ls_ops {
    const char *name; /* "serial", "portable", "avx2", "avx512" */

    /* Calls work(context) on this thread while the implementation's other threads stand by for operations,
     * which are cheaper then; operations also work outside of it.  Not to be nested. */
    void (*with_team)(void (*work)(void *context), void *context);

    /* y[b][j] = act(fold(bias[j] or +0; k: x[b][k], w[k][j])).   x (B,K), w (K,N), bias (N) or NULL, y (B,N).
     */
    void (*dense_forward)(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                          const float *bias, enum ls_activation act);

    /* dx[b][k] = act'(x[b][k]) applied to fold(+0; j: dz[b][j], w[k][j]).   dz (B,N), w (K,N), dx (B,K).
     * `act` is the activation that made x (B,K); with LS_ACT_NONE x may be NULL.  This is activation_backward
     * fused in. */
    void (*dense_input_gradient)(struct ls_dense_shape shape, float *dx, const float *dz, const float *w,
                                 enum ls_activation act, const float *x);

    /* dw[k][j] = tree over leaves of fold(+0; b in leaf: x[b][k], dz[b][j]);
     * db[j]    = tree over leaves of fold(+0; b in leaf: dz[b][j], 1).   dw (K,N), db (N) or NULL: both
     * overwritten. Leaf i is rows [i*m, min((i+1)*m, B)). */
    void (*dense_weight_gradient)(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                  const float *x, const float *dz);

    /* y[i] = act(z[i]); y == z is allowed.
     * relu: z <= 0 ? +0 : z (a NaN stays one).  tanh, sigmoid: base/elementary.h. */
    void (*activation_forward)(enum ls_activation act, ptrdiff_t n, float *y, const float *z);

    /* dz[i] = act'(y[i]) applied to dy[i], in terms of the output y; dz == dy is allowed.
     * relu: y <= 0 ? +0 : dy.   tanh: dy * fma(-y, y, 1).   sigmoid: dy * fma(-y, y, y). */
    void (*activation_backward)(enum ls_activation act, ptrdiff_t n, float *dz, const float *dy,
                                const float *y);

    /* Per-sample loss[b] and, unless dz is NULL, its gradient dz (B,N), not divided by the batch.  z (B,N).
     * softmax:  M = max_j z_j;  e_j = exp(z_j - M);  s = lanesum(e);  loss = log(s) - (z_label - M);
     *           dz_j = e_j / s, minus 1 at the label.
     * squared:  d_j = z_j - t_j;  loss = lanesum_j(d_j * d_j), times 0.5f for half;  dz_j = d_j, or d_j + d_j
     * without half. bce:      l_j = fma(-z_j, t_j, max(z_j, 0)) + log1p(exp(-|z_j|));  loss = lanesum(l);
     * dz_j = sigmoid(z_j) - t_j. max(z,0) is z <= 0 ? +0 : z.  A NaN in z makes the loss NaN. */
    void (*loss)(enum ls_loss kind, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz, const float *z,
                 const struct ls_targets *targets);

    /* tree over leaves of fold(+0; b in leaf: v[b], 1). */
    float (*leaf_sum)(ptrdiff_t B, ptrdiff_t m, const float *v);

    /* One node of the tree, elementwise: left[i] = left[i] + right[i]. */
    void (*tree_add)(ptrdiff_t n, float *left, const float *right);

    /* One update of n parameters w from summed gradients:  g = sum[i] * gradient_scale;
     * weight_decay != 0:  g = fma(wd, w, g);   momentum != 0:  v = fma(mu, v, g), then
     * plain w = fma(-lr, v, w), Nesterov w = fma(-lr, fma(mu, v, g), w);   without momentum w = fma(-lr, g,
     * w). Returns how many of the new parameters are not finite: nonzero or 0 is all a caller may rely on. */
    int64_t (*sgd)(const struct ls_sgd *rule, ptrdiff_t n, float *w, float *velocity, const float *sum);

    /* x[b][k] = (float)pixels[index[b]*K + k] / divisor, one IEEE division (however computed).  divisor is a
     * whole number in 1..255. */
    void (*gather_u8)(ptrdiff_t B, ptrdiff_t K, float *x, const uint8_t *pixels, const int64_t *index,
                      float divisor);

    /* x[b] = whatever row(context, index[b], x + b*K) writes there; row is a pure function of its index. */
    void (*gather_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                        void (*row)(const void *context, int64_t index, float *x), const void *context);
};

/* The oracle. */
extern const struct ls_ops ls_ops_serial;

/* The parallel implementation for the best ISA that this processor has and this build knows, or the one that
 * `wanted` names ("portable", "avx2", "avx512"; NULL means the best).  NULL when it is unknown or unsupported
 * here. */
const struct ls_ops *ls_ops_parallel(const char *wanted);

/* The ISA names that ls_ops_parallel would accept on this machine, best first, NULL-terminated. */
const char *const *ls_ops_isas(void);

/* How many OpenMP threads parallel operations use from now on, and what they use now (1 in a build without
 * OpenMP). */
void ls_ops_set_threads(int n);
int ls_ops_threads(void);

#endif
