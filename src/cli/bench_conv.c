/* Convolutions, verified and timed: the second half of `lockstep bench kernels`.
 *
 * The oracle would take minutes for a whole batch.  It computes a batch of a few samples, whose leaves are of
 * two; forward and input gradient of the whole batch are then compared with the few, sample by sample, as no
 * sample may know of another. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench_kernels.h"

enum { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, N_TIMED };
static const char *const names[N_TIMED] = {"forward, relu", "input gradient", "weight gradient m=32"};

enum { BATCH = 64, FEW = 3, FEW_LEAF = 2, LEAF = 32 };
#define SHAPE(H_, C_, N_, K_, S_, P_, G_)                                                                    \
    {                                                                                                        \
        {.B = BATCH,                                                                                         \
         .H = H_,                                                                                            \
         .W = H_,                                                                                            \
         .C = C_,                                                                                            \
         .KH = K_,                                                                                           \
         .KW = K_,                                                                                           \
         .SY = S_,                                                                                           \
         .SX = S_,                                                                                           \
         .PY = P_,                                                                                           \
         .PX = P_,                                                                                           \
         .OH = ((H_) + 2 * (P_) - (K_)) / (S_) + 1,                                                          \
         .OW = ((H_) + 2 * (P_) - (K_)) / (S_) + 1},                                                         \
            .N = N_, .G = G_                                                                                 \
    }
/* Image, channels in and out, window, stride, padding, groups. */
static const struct ls_conv_shape shapes[] = {
    SHAPE(28, 1, 32, 3, 1, 1, 1),   SHAPE(14, 32, 64, 3, 1, 1, 1),  SHAPE(28, 64, 64, 3, 1, 1, 1),
    SHAPE(28, 1, 32, 5, 1, 2, 1),   SHAPE(14, 32, 64, 5, 1, 2, 1),  SHAPE(28, 1, 6, 5, 1, 2, 1),
    SHAPE(14, 6, 16, 5, 1, 0, 1),   SHAPE(32, 3, 16, 3, 1, 1, 1),   SHAPE(32, 16, 16, 3, 1, 1, 1),
    SHAPE(32, 16, 32, 3, 2, 1, 1),  SHAPE(16, 32, 32, 3, 1, 1, 1),  SHAPE(8, 64, 64, 3, 1, 1, 1),
    SHAPE(32, 16, 32, 1, 2, 0, 1),  SHAPE(4, 512, 512, 3, 1, 1, 1), SHAPE(16, 64, 128, 1, 1, 0, 1),
    SHAPE(16, 64, 64, 3, 1, 1, 64), SHAPE(28, 32, 32, 3, 1, 1, 32)};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* Operands of one shape, and results: the oracle's of a few samples and all under test. */
struct operands {
    struct ls_conv_shape shape;
    ptrdiff_t nx, ny, nw; /* floats of a sample's input and output, and of the weights */
    float *x, *w, *bias, *dz;
    float *y[2], *dx[2], *dw[2], *db[2];
};

static void operands_release(struct operands *o)
{
    float *blocks[] = {o->x,     o->w,     o->bias,  o->dz,    o->y[0],  o->y[1],
                       o->dx[0], o->dx[1], o->dw[0], o->dw[1], o->db[0], o->db[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        ls_free(blocks[i]);
}

static float *results(ptrdiff_t n, struct ls_error *err)
{
    return ls_alloc((size_t)n, sizeof(float), "results", err);
}

static enum ls_code operands_init(struct operands *o, const struct ls_conv_shape *s, struct ls_error *err)
{
    *o = (struct operands){.shape = *s,
                           .nx = s->at.H * s->at.W * s->at.C,
                           .ny = s->at.OH * s->at.OW * s->N,
                           .nw = s->at.C / s->G * s->at.KH * s->at.KW * s->N};
    int ok = (o->x = ls_bench_floats(BATCH * o->nx, 1, err)) && (o->w = ls_bench_floats(o->nw, 2, err)) &&
             (o->bias = ls_bench_floats(s->N, 3, err)) && (o->dz = ls_bench_floats(BATCH * o->ny, 4, err));
    for (int i = 0; ok && i < 2; i++)
        ok = (o->y[i] = results((i ? BATCH : FEW) * o->ny, err)) &&
             (o->dx[i] = results((i ? BATCH : FEW) * o->nx, err)) && (o->dw[i] = results(o->nw, err)) &&
             (o->db[i] = results(s->N, err));
    return ok ? LS_OK : LS_FAILED;
}

struct run {
    const struct operands *o;
    int which, to;
    ptrdiff_t B, m;
};

static void run(const struct ls_ops *ops, const void *context)
{
    const struct run *r = context;
    const struct operands *o = r->o;
    struct ls_conv_shape s = o->shape;
    s.at.B = r->B;
    if (r->which == FORWARD)
        ops->conv_forward(&s, o->y[r->to], o->x, o->w, o->bias, LS_ACT_RELU, NULL);
    else if (r->which == INPUT_GRADIENT)
        ops->conv_input_gradient(&s, o->dx[r->to], o->dz, o->w, LS_ACT_RELU, o->x);
    else
        ops->conv_weight_gradient(&s, r->m, o->dw[r->to], o->db[r->to], o->x, o->dz, NULL);
}

static int same(const float *a, const float *b, ptrdiff_t n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* `which` on n threads equals the oracle. */
static int verified(const struct ls_ops *ops, const struct operands *o, int which, int n)
{
    ls_ops_set_threads(n);
    run(ops, &(struct run){o, which, 1, which == WEIGHT_GRADIENT ? FEW : BATCH, FEW_LEAF});
    if (which == FORWARD)
        return same(o->y[0], o->y[1], FEW * o->ny);
    if (which == INPUT_GRADIENT)
        return same(o->dx[0], o->dx[1], FEW * o->nx);
    return same(o->dw[0], o->dw[1], o->nw) && same(o->db[0], o->db[1], o->shape.N);
}

static enum ls_code time_shape(const struct ls_ops *ops, const struct operands *o, int threads, double each,
                               double top[2], struct ls_error *err)
{
    const struct ls_window *at = &o->shape.at;
    for (int which = 0; which < N_TIMED; which++) {
        if (which == INPUT_GRADIENT && at->C <= 3)
            continue; /* a first layer's: nobody asks for it */
        run(&ls_ops_serial, &(struct run){o, which, 0, FEW, FEW_LEAF});
        if (!verified(ops, o, which, 1) || !verified(ops, o, which, threads))
            return ls_fail(err, LS_DIFFERENT,
                           "%s of a convolution of %td x %td x %td to %td: %s differs from the oracle",
                           names[which], at->H, at->W, at->C, o->shape.N, ops->name);
        printf("%2td x%2td x%3td > %3td %td/%td%c %-22s", at->H, at->W, at->C, o->shape.N, at->KH, at->SY,
               o->shape.G > 1 ? 'g' : ' ', names[which]);
        const struct run timed = {o, which, 1, BATCH, LEAF};
        const double flops = 2.0 * BATCH * (double)o->ny * (double)(o->nw / o->shape.N);
        ls_bench_time(ops, run, &timed, flops, 1, each, &top[0]);
        if (threads > 1)
            ls_bench_time(ops, run, &timed, flops, threads, each, &top[1]);
        printf("\n");
    }
    return LS_OK;
}

enum ls_code ls_bench_convolutions(const struct ls_ops *ops, int threads, double seconds, double top[2],
                                   struct ls_error *err)
{
    const double each = seconds / (N_SHAPES * N_TIMED * (threads > 1 ? 2 : 1));
    printf("\nconvolutions, batch %d: image, channels > channels, window/stride, g: depthwise\n", BATCH);
    enum ls_code code = LS_OK;
    for (int i = 0; code == LS_OK && i < N_SHAPES; i++) {
        struct operands o;
        code = operands_init(&o, &shapes[i], err);
        if (code == LS_OK)
            code = time_shape(ops, &o, threads, each, top, err);
        operands_release(&o);
    }
    return code;
}
