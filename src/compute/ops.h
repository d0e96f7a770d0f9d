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
 * >= 1.  Images have their own letters, see struct ls_window.  fold(init; k: a_k, b_k) means acc = init; for
 * k ascending acc = fma(a_k, b_k, acc). */
#ifndef LS_COMPUTE_OPS_H
#define LS_COMPUTE_OPS_H

#include <stddef.h>
#include <stdint.h>

/* The first four are known from their output y, so a layer in front can end in one of them ("fused"); of the
 * others the derivative needs the input z. */
enum ls_activation {
    LS_ACT_NONE,
    LS_ACT_RELU,
    LS_ACT_TANH,
    LS_ACT_SIGMOID,
    LS_ACT_LEAKYRELU,
    LS_ACT_GELU,
    LS_ACT_SOFTPLUS,
};

enum ls_loss {
    LS_LOSS_SOFTMAX,      /* softmax cross-entropy on logits, integer labels */
    LS_LOSS_SQUARED,      /* sum over j of (z_j - t_j)^2 */
    LS_LOSS_HALF_SQUARED, /* half of that */
    LS_LOSS_BCE,          /* binary cross-entropy on logits, summed over j */
    LS_LOSS_HUBER,        /* squared near the target, linear beyond delta, summed over j */
    LS_LOSS_HINGE,        /* margins on integer labels */
};

/* A loss and what shapes it. */
struct ls_loss_rule {
    enum ls_loss kind;
    float smoothing;            /* of LS_LOSS_SOFTMAX, 0 <= smoothing < 1; 0 leaves its terms out */
    float delta;                /* of LS_LOSS_HUBER, > 0 */
    const float *class_weights; /* (n_classes), finite, >= 0: how much a sample counts; NULL: all alike */
    int32_t n_classes;          /* of class_weights; every label is below */
};

/* A matrix that threads read may lie in memory several times, `step` floats apart, all n copies the same:
 * thread t reads copy t % n, and waits for nothing that another core wrote.  {0} is one copy. */
struct ls_copies {
    int n;
    ptrdiff_t step;
};

/* Rows that lie anywhere, and where they are to be: x[b][k] of x (B,K) is
 * pixels[index[b]*K + k] / divisor, one IEEE division (however computed), divisor a whole number in 1..255,
 * or numbers[index[b]*K + k]; in all copies of x.  Exactly one of `pixels` and `numbers` is set. */
struct ls_gather {
    ptrdiff_t B, K;
    float *x;
    struct ls_copies copies;
    const uint8_t *pixels;
    float divisor;
    const float *numbers;
    const int64_t *index;
};

struct ls_dense_shape {
    ptrdiff_t B, K, N;
    struct ls_copies x; /* of the products' x (B,K); that of an input gradient's is not used */
};

/* Images are channels-last in memory: x (B, H, W, C).  A window of KH x KW taps moves over them by SY, SX;
 * PY rows of padding lie above and below, PX columns left and right.  Output (B, OH, OW, ...) with
 * OH = (H + 2 PY - KH) / SY + 1, OW alike.  Tap (ky, kx) of output (oy, ox) is at y = oy SY + ky - PY,
 * x = ox SX + kx - PX; outside the image it is "padding". */
struct ls_window {
    ptrdiff_t B, H, W, C, KH, KW, SY, SX, PY, PX, OH, OW;
};

/* A convolution of G groups: outputs j of group j / (N/G) see the C/G channels of that group.  Its weights
 * are (C/G * KH * KW, N): row (c * KH + ky) * KW + kx, c counted within the group.  Depthwise: G == C. */
struct ls_conv_shape {
    struct ls_window at;
    ptrdiff_t N, G;
};

/* A maxpool that is right behind a convolution and may be computed image by image while the convolution's
 * output is in a cache: y = maxpool_forward of that output. */
struct ls_maxpool {
    struct ls_window at;
    float *y;
};

/* The same backward: dx = maxpool_backward(dy), whose dx the convolution's weight gradient reads. */
struct ls_maxpool_gradient {
    struct ls_window at;
    float *dx;
    const float *dy;
    enum ls_activation act;
    const float *x;
};

/* Of images [begin, end) alone. */
static inline struct ls_maxpool_gradient ls_maxpool_gradient_of(const struct ls_maxpool_gradient *pool,
                                                                ptrdiff_t begin, ptrdiff_t end)
{
    const struct ls_window *at = &pool->at;
    struct ls_maxpool_gradient some = *pool;
    some.at.B = end - begin;
    some.dx += begin * at->H * at->W * at->C;
    some.x += begin * at->H * at->W * at->C;
    some.dy += begin * at->OH * at->OW * at->C;
    return some;
}

/* Channels-last activations seen as B samples of P pixels of C channels; a dense layer's have P == 1. */
struct ls_channels {
    ptrdiff_t B, P, C;
};

/* What a batch is compared with: exactly one pointer is set.  labels (B): class of each sample, 0 <= label <
 * max(N, 2); for losses that need one number an output they stand for one-hot rows, or with N == 1 for the
 * number itself. values (B, N): numbers, not for LS_LOSS_SOFTMAX, LS_LOSS_HINGE or class weights. */
struct ls_targets {
    const int32_t *labels;
    const float *values;
};

/* Which units a dropout layer drops in one step. */
struct ls_dropout {
    uint64_t seed, stream;
    int64_t first_row;  /* position in the global batch of row 0 of this call */
    uint32_t threshold; /* dropped when a random word is below: P * 2^32, rounded down */
    float scale;        /* 1.0f / (1.0f - P) */
};

/* Where a sample's pixels come from: pixel (y, x) of what the net sees is pixel (y + dy, x' + dx) of the
 * sample, x' = flip ? W - 1 - x : x, and 0 where that lies outside. */
struct ls_move {
    int32_t dy, dx, flip;
};

/* How samples become inputs.  Here alone images are channels-first, (C, H, W), as data sets store them. */
struct ls_image_view {
    ptrdiff_t C, H, W;
    const float *mean, *inverse; /* (C): a value v of channel c becomes (v - mean[c]) * inverse[c]; or NULL */
    /* The move of a sample, a pure function of its index; NULL: none is moved. */
    struct ls_move (*move)(const void *context, int64_t index);
    const void *context;
};

/* What one update does with a gradient; src/optim turns optimizers into these. */
enum ls_update_kind {
    LS_UPDATE_SGD,
    LS_UPDATE_LARS, /* momentum that has the learning rate inside */
    LS_UPDATE_ADAGRAD,
    LS_UPDATE_RMSPROP,
    LS_UPDATE_ADAM,
};

/* The numbers of one update of one tensor.  A term whose factor is 0 (clip_value, weight_decay, momentum) or
 * 1 (clip_factor, keep) is left out. */
struct ls_update {
    enum ls_update_kind kind;
    int nesterov;         /* of LS_UPDATE_SGD with momentum */
    float gradient_scale; /* r = 1.0f / (float)global_batch */
    float clip_factor;    /* of clipping by norm; 0 is a factor like others */
    float clip_value;     /* > 0: the largest size of a gradient's element; may be infinite */
    float weight_decay;   /* L2 */
    float keep;           /* what decoupled decay leaves of a weight; 0 is a factor like others */
    float rate;           /* the learning rate and whatever else multiplies a step */
    float momentum;       /* 0: velocity is neither read nor written and may be NULL */
    float beta1, beta2;   /* of moments; RMSProp's alpha is beta2 */
    float epsilon;
    float correction1, correction2; /* Adam: factors against the moments' start from zero */
};

struct ls_ops {
    const char *name; /* "serial", "portable", "avx2", "avx512" */

    /* Calls work(context) on this thread while the implementation's other threads stand by for operations,
     * which are cheaper then; operations also work outside of it.  Not to be nested. */
    void (*with_team)(void (*work)(void *context), void *context);

    /* Calls work(context, i) for i = 0 .. n-1, as many at once as there are threads; the operations that a
     * call uses run on its thread alone.  Not to be nested. */
    void (*each)(int n, void (*work)(void *context, int i), void *context);

    /* How many copies of x make the forward product and dense_weight_gradient of this shape faster, at
     * least 1. */
    int (*dense_input_copies)(struct ls_dense_shape shape);

    /* y[b][j] = act(fold(bias[j] or +0; k: x[b][k], w[k][j])).   x (B,K), w (K,N), bias (N) or NULL, y (B,N).
     */
    void (*dense_forward)(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                          const float *bias, enum ls_activation act);

    /* gather(x), then dense_forward of x->x; shape.x is x->copies.  A thread gathers what it multiplies. */
    void (*dense_forward_gathered)(struct ls_dense_shape shape, float *y, const struct ls_gather *x,
                                   const float *w, const float *bias, enum ls_activation act);

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

    /* y[b][oy][ox][j] = act(fold(bias[j] or +0; c, ky, kx: tap, w[(c,ky,kx)][j])), c over the channels of j's
     * group, outermost; a tap in the padding counts as +0.  bias (N) or NULL, y (B,OH,OW,N); act is one of
     * the first four.  pool, unless NULL, is of y: maxpool_forward(&pool->at, pool->y, y) afterwards. */
    void (*conv_forward)(const struct ls_conv_shape *shape, float *y, const float *x, const float *w,
                         const float *bias, enum ls_activation act, const struct ls_maxpool *pool);

    /* dx[b][y][x][c] = act'(x) applied to fold(+0; j, ky, kx: dz[b][oy][ox][j], w[(c,ky,kx)][j]), j over the
     * outputs of c's group, outermost, and those taps whose oy SY = y + PY - ky and ox SX = x + PX - kx have
     * whole solutions oy, ox; where these lie outside the output, dz counts as +0.   act and x as for
     * dense_input_gradient: with LS_ACT_NONE x may be NULL. */
    void (*conv_input_gradient)(const struct ls_conv_shape *shape, float *dx, const float *dz, const float *w,
                                enum ls_activation act, const float *x);

    /* dw[(c,ky,kx)][j] = tree over leaves of fold(+0; b in leaf, oy, ox: tap, dz[b][oy][ox][j]);
     * db[j]            = tree over leaves of fold(+0; b in leaf, oy, ox: dz[b][oy][ox][j], 1).
     * A tap in the padding counts as +0.  db may be NULL; both are overwritten.  pool, unless NULL, makes
     * dz before, by maxpool_backward: pool->dx is dz, which is written, pool->x this convolution's y, both of
     * this B; pool->dy is apart. */
    void (*conv_weight_gradient)(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                 const float *x, const float *dz, const struct ls_maxpool_gradient *pool);

    /* y = the largest tap of the window that is not padding; of equal ones the first in (ky, kx) order, and a
     * NaN wins over what is before it:  top = first tap; for the others in order  v > top or v != v: top = v.
     * Each window has a tap inside: PY < KH, PX < KW and the same at the far edge. */
    void (*maxpool_forward)(const struct ls_window *window, float *y, const float *x);

    /* dx[b][y][x][c] = fold(+0; windows (oy, ox) in order whose chosen tap this is: dy, 1), then the
     * derivative of `act`, the activation that made x: activation_backward on dx. */
    void (*maxpool_backward)(const struct ls_window *window, float *dx, const float *dy,
                             enum ls_activation act, const float *x);

    /* y = fold(+0; ky, kx: tap, 1) * r with r = 1.0f / (float)(KH * KW); padding counts as +0. */
    void (*avgpool_forward)(const struct ls_window *window, float *y, const float *x);

    /* dx[b][y][x][c] = fold(+0; windows (oy, ox) in order that have this tap: dy, 1) * r. */
    void (*avgpool_backward)(const struct ls_window *window, float *dx, const float *dy);

    /* sum[c] = tree over leaves of fold(+0; b in leaf, p: x[b][p][c], 1). */
    void (*channel_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x);

    /* sum[c] = tree over leaves of fold(+0; b in leaf, p: d, d), d = x[b][p][c] - mean[c]. */
    void (*channel_square_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x,
                               const float *mean);

    /* From sums of squares to what a normalisation needs:  variance[c] = sum[c] * r;
     * inverse[c] = 1 / sqrt(variance[c] + epsilon).  variance == sum is allowed. */
    void (*channel_deviation)(ptrdiff_t C, float *variance, float *inverse, const float *sum, float r,
                              float epsilon);

    /* y = act(fma(h, gamma[c], beta[c]) + also), h = (x - mean[c]) * inverse[c]; also (B, P, C) or NULL, and
     * nothing is added; act is one of the first four.  y == x and y == also are allowed. */
    void (*batchnorm_forward)(const struct ls_channels *shape, float *y, const float *x, const float *mean,
                              const float *inverse, const float *gamma, const float *beta, const float *also,
                              enum ls_activation act);

    /* dgamma[c] = tree over leaves of fold(+0; b in leaf, p: dz, h), dbeta[c] = ... fold(+0; ...: dz, 1),
     * h as in batchnorm_forward. */
    void (*batchnorm_sums)(const struct ls_channels *shape, ptrdiff_t m, float *dgamma, float *dbeta,
                           const float *dz, const float *x, const float *mean, const float *inverse);

    /* dx = (gamma[c] * inverse[c]) * fma(-h, sum_dzh[c] * r, dz - sum_dz[c] * r), from the sums of
     * batchnorm_sums over the global batch and r = 1 over its number of pixels.  dx == dz is allowed. */
    void (*batchnorm_input_gradient)(const struct ls_channels *shape, float *dx, const float *dz,
                                     const float *x, const float *mean, const float *inverse,
                                     const float *gamma, const float *sum_dzh, const float *sum_dz, float r);

    /* Each row of K:  mean = lanesum(x) * r, variance = lanesum(d * d) * r, d = x - mean, r = 1.0f /
     * (float)K; inverse = 1 / sqrt(variance + epsilon);  y[k] = fma(d * inverse, gamma[k], beta[k]).
     * statistics (B,2) gets mean and inverse of each row. */
    void (*layernorm_forward)(ptrdiff_t B, ptrdiff_t K, float *y, float *statistics, const float *x,
                              const float *gamma, const float *beta, float epsilon);

    /* h = (x - mean) * inverse, g = dz * gamma[k], s = lanesum(g) * r, t = lanesum(g * h) * r:
     * dx[k] = inverse * fma(-h, t, g - s).   dx == dz is allowed. */
    void (*layernorm_input_gradient)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz, const float *x,
                                     const float *statistics, const float *gamma);

    /* dgamma[k] = tree over leaves of fold(+0; b in leaf: dz, h), dbeta[k] = ... fold(+0; b: dz, 1). */
    void (*layernorm_weight_gradient)(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, float *dgamma, float *dbeta,
                                      const float *dz, const float *x, const float *statistics);

    /* Each row of K:  M = max x, e_k = exp(x_k - M), y_k = e_k / lanesum(e).   y == x is allowed. */
    void (*softmax_forward)(ptrdiff_t B, ptrdiff_t K, float *y, const float *x);

    /* dx_k = y_k * (dy_k - lanesum(dy * y)).   dx == dy is allowed. */
    void (*softmax_backward)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y);

    /* y[b][k] = word >= drop->threshold ? x[b][k] * drop->scale : +0, where word is word (i % 4) of the
     * random block (drop->seed, LS_PURPOSE_DROPOUT, drop->stream, i / 4), i = (drop->first_row + b) * K + k.
     * Forward and, on dy, backward.  y == x is allowed. */
    void (*dropout)(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, float *y, const float *x);

    /* to[b][j][i] = from[b][i][j], from (B, rows, columns): between channels-first and channels-last. */
    void (*transpose)(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns, float *to, const float *from);

    /* y[i] = act(a[i] + b[i]); act is one of the first four; y may be a or b. */
    void (*add)(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b);

    /* dz = activation_backward of a + b, where y is the output; act is one of the first four.  dz may be a or
     * b, or both. */
    void (*add_backward)(enum ls_activation act, ptrdiff_t n, float *dz, const float *a, const float *b,
                         const float *y);

    /* average[i] = fma(weight, x[i] - average[i], average[i]). */
    void (*blend)(ptrdiff_t n, float *average, const float *x, float weight);

    /* y[i] = x[i] * factor; y == x is allowed. */
    void (*scale)(ptrdiff_t n, float *y, const float *x, float factor);

    /* x[b][k] = (x[b][k] - offset[k]) * factor[k], in place.   x (B,K), offset (K), factor (K). */
    void (*scale_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const float *offset, const float *factor);

    /* y[i] = act(z[i]); y == z is allowed.
     * relu: z <= 0 ? +0 : z (a NaN stays one).  tanh, sigmoid: base/elementary.h.
     * leakyrelu: z <= 0 ? slope * z : z.
     * gelu: z * fma(0.5f, erf(z * sqrt(1/2)), 0.5f).   softplus: max(z, 0) + log1p(exp(-|z|)). */
    void (*activation_forward)(enum ls_activation act, float slope, ptrdiff_t n, float *y, const float *z);

    /* dz[i] = act' applied to dy[i]; dz == dy is allowed.  Of relu, tanh, sigmoid in terms of the output,
     * which `y` is:  relu: y <= 0 ? +0 : dy.   tanh: dy * fma(-y, y, 1).   sigmoid: dy * fma(-y, y, y). Of
     * the others in terms of the input, which `y` is:  leakyrelu: z <= 0 ? slope * dy : dy. gelu: dy * fma(z,
     * exp(-0.5f * z * z) * 0.3989422804f, fma(0.5f, erf(z * sqrt(1/2)), 0.5f)). softplus: dy * sigmoid(z). */
    void (*activation_backward)(enum ls_activation act, float slope, ptrdiff_t n, float *dz, const float *dy,
                                const float *y);

    /* Per-sample loss[b] and, unless dz is NULL, its gradient dz (B,N), not divided by the batch.  z (B,N).
     *
     * softmax:  M = max_j z_j;  e_j = exp(z_j - M);  s = lanesum(e);  loss = log(s) - (z_label - M);
     *           dz_j = e_j / s, minus 1 at the label.
     *           With smoothing a != 0, q_j = a / (float)N, at the label (1 - a) + a / (float)N:
     *           loss = log(s) - fma(1 - a, z_label - M, (a / (float)N) * lanesum(z_j - M)),
     *           dz_j = e_j / s - q_j (Szegedy et al. 2016).
     * squared:  d_j = z_j - t_j;  loss = lanesum(d_j * d_j), times 0.5f for half;
     *           dz_j = d_j for half, else d_j + d_j.
     * bce:      l_j = fma(-z_j, t_j, max(z_j, 0)) + log1p(exp(-|z_j|));  loss = lanesum(l);
     *           dz_j = sigmoid(z_j) - t_j.
     * huber:    d_j = z_j - t_j;  l_j = |d_j| <= delta ? (0.5f * d_j) * d_j : delta * (|d_j| - 0.5f * delta);
     *           loss = lanesum(l);  dz_j = d_j > delta ? delta : d_j < -delta ? -delta : d_j (Huber 1964).
     * hinge:    N >= 2: l_label = +0, for the others l_j = max((z_j - z_label) + 1, 0);  loss = lanesum(l);
     *           dz_j = l_j > 0 ? 1 : +0, dz_label = -(float)(how many are 1) (Weston and Watkins 1999).
     *           N == 1: t = label ? 1 : -1;  loss = max(fma(-t, z, 1), 0);  dz = loss > 0 ? -t : +0.
     *
     * With class weights a sample's loss and each of its dz_j is at the end multiplied by the weight of its
     * label.  max(v, 0) is v <= 0 ? +0 : v.  A NaN in z makes the loss NaN. */
    void (*loss)(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                 const float *z, const struct ls_targets *targets);

    /* tree over leaves of fold(+0; b in leaf: v[b], 1). */
    float (*leaf_sum)(ptrdiff_t B, ptrdiff_t m, const float *v);

    /* One node of the tree, elementwise: left[i] = left[i] + right[i]. */
    void (*tree_add)(ptrdiff_t n, float *left, const float *right);

    /* One update of the parameters w (rows, columns) from summed gradients, element by element; the shape
     * matters only to speed, as threads update what they computed the gradient of; a vector has one row.
     *   g = (sum * gradient_scale) * clip_factor;   g > c: g = c, g < -c: g = -c, c = clip_value;
     *   g = fma(weight_decay, w, g);   w = w * keep;   then by kind
     *   SGD      v = fma(mu, v, g);  w = fma(-rate, v, w), Nesterov w = fma(-rate, fma(mu, v, g), w);
     *            without momentum w = fma(-rate, g, w)
     *   LARS     v = fma(mu, v, rate * g);  w = w - v;   without momentum w = fma(-rate, g, w)
     *   AdaGrad  s = fma(g, g, s);  w = fma(-rate, g / (sqrt(s) + epsilon), w)
     *   RMSProp  s = fma(beta2, s, (1 - beta2) * (g * g));  q = g / (sqrt(s) + epsilon);
     *            v = fma(mu, v, q);  w = fma(-rate, v, w);   without momentum w = fma(-rate, q, w)
     *   Adam     v = fma(beta1, v, (1 - beta1) * g);  s = fma(beta2, s, (1 - beta2) * (g * g));
     *            q = v / fma(sqrt(s), correction2, epsilon);  w = fma(-rate, q, w)
     * (decay sees w before `keep`).  v is `velocity`, s is `square`: NULL where the kind has none.  Returns
     * how many of the new parameters are not finite: nonzero or 0 is all a caller may rely on. */
    int64_t (*update)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                      float *velocity, float *square, const float *sum);

    /* Adam's direction instead of its step, weight decay added last (LAMB):  g as in update, but without
     * decay; v and s as Adam's;  q = (v * correction1) / fma(sqrt(s), correction2, epsilon);
     * direction = fma(weight_decay, w, q). */
    void (*adam_direction)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *direction,
                           const float *w, float *velocity, float *square, const float *sum);

    /* lanesum(t * t), t = v[i] * factor (contract rule 4: blocks of 4096, a tree over them). */
    float (*square_sum)(ptrdiff_t n, const float *v, float factor);

    /* The sums of its blocks alone, which that tree is over: sums (ceil(n / 4096)). */
    void (*square_blocks)(ptrdiff_t n, const float *v, float factor, float *sums);

    /* Makes x as struct ls_gather says, each copy by the thread that will read it. */
    void (*gather)(const struct ls_gather *rows);

    /* x[b] = whatever row(context, index[b], x + b*K) writes there; row is a pure function of its index. */
    void (*gather_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                        void (*row)(const void *context, int64_t index, float *x), const void *context);

    /* x[b][c][y][x] = (v - mean[c]) * inverse[c], v = (float)p / divisor, p the pixel of sample index[b] that
     * its move brings to (c, y, x), 0 when it brings none: a pixel moved in is 0 before it is normalised.
     * pixels (.., C, H, W), x (B, C, H, W); divisor as in struct ls_gather.  Without mean, v itself. */
    void (*gather_images)(const struct ls_image_view *view, ptrdiff_t B, float *x, const uint8_t *pixels,
                          const int64_t *index, float divisor);

    /* The same in place for values that are in x (B, C, H, W) already, row b being sample index[b]. */
    void (*view_images)(const struct ls_image_view *view, ptrdiff_t B, float *x, const int64_t *index);
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

/* Whether operations that the calling thread asks for run on it alone: then it has one.  For `each`. */
void ls_ops_set_alone(int alone);

#endif
