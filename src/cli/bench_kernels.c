/* The dense products, and behind them the convolutions (bench_conv.c), verified and timed.  Each repeat of a
 * product is close in time to a measurement of the peak, so what else the machine does disturbs both alike,
 * and the shares hold even where the rates do not.
 */
#include "cli/bench_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "base/timer.h"
#include "compute/machine.h"

enum product { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT };

struct timed {
    enum product product;
    ptrdiff_t m; /* for the weight gradient */
    const char *name;
};

static const struct timed all_timed[] = {{FORWARD, 0, "forward, relu"},
                                         {INPUT_GRADIENT, 0, "input gradient"},
                                         {WEIGHT_GRADIENT, 32, "weight gradient m=32"},
                                         {WEIGHT_GRADIENT, 16, "weight gradient m=16"},
                                         {WEIGHT_GRADIENT, 64, "weight gradient m=64"}};
static const struct ls_dense_shape shapes[] = {{.B = 256, .N = 1024, .K = 784},
                                               {.B = 1024, .N = 1024, .K = 1024},
                                               {.B = 60, .N = 128, .K = 784},
                                               {.B = 64, .N = 128, .K = 784},
                                               {.B = 64, .N = 10, .K = 128}};
enum {
    N_TIMED = sizeof all_timed / sizeof *all_timed,
    N_SHAPES = sizeof shapes / sizeof *shapes,
    MOST_REPEATS = 2000
};

/* Operands and results of one shape, results twice: the oracle's and the ones under test. */
struct operands {
    struct ls_dense_shape shape;
    float *x, *w, *bias, *dz;
    float *y[2], *dx[2], *dw[2], *db[2];
};

float *ls_bench_floats(ptrdiff_t n, uint64_t which, struct ls_error *err)
{
    float *v = ls_alloc((size_t)n, sizeof *v, "operands", err);
    for (ptrdiff_t i = 0; v && i < n; i++)
        v[i] = (float)(int32_t)ls_random(1, LS_PURPOSE_SYNTHETIC, which, (uint64_t)i).word[0] * 0x1p-31f;
    return v;
}

static void operands_release(struct operands *o)
{
    float *blocks[] = {o->x,     o->w,     o->bias,  o->dz,    o->y[0],  o->y[1],
                       o->dx[0], o->dx[1], o->dw[0], o->dw[1], o->db[0], o->db[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        ls_free(blocks[i]);
}

static enum ls_code operands_init(struct operands *o, struct ls_dense_shape s, struct ls_error *err)
{
    *o = (struct operands){.shape = s};
    int ok = (o->x = ls_bench_floats(s.B * s.K, 1, err)) && (o->w = ls_bench_floats(s.K * s.N, 2, err)) &&
             (o->bias = ls_bench_floats(s.N, 3, err)) && (o->dz = ls_bench_floats(s.B * s.N, 4, err));
    for (int i = 0; ok && i < 2; i++)
        ok = (o->y[i] = ls_alloc((size_t)(s.B * s.N), sizeof(float), "results", err)) &&
             (o->dx[i] = ls_alloc((size_t)(s.B * s.K), sizeof(float), "results", err)) &&
             (o->dw[i] = ls_alloc((size_t)(s.K * s.N), sizeof(float), "results", err)) &&
             (o->db[i] = ls_alloc((size_t)s.N, sizeof(float), "results", err));
    return ok ? LS_OK : LS_FAILED;
}

/* A product to be timed. */
struct run {
    const struct operands *o;
    const struct timed *t;
    int to;
};

static void run(const struct ls_ops *ops, const void *context)
{
    const struct run *r = context;
    const struct operands *o = r->o;
    const struct timed *t = r->t;
    const int to = r->to;
    switch (t->product) {
    case FORWARD:
        ops->dense_forward(o->shape, o->y[to], o->x, o->w, o->bias, LS_ACT_RELU);
        break;
    case INPUT_GRADIENT:
        ops->dense_input_gradient(o->shape, o->dx[to], o->dz, o->w, LS_ACT_RELU, o->x);
        break;
    case WEIGHT_GRADIENT:
        ops->dense_weight_gradient(o->shape, t->m, o->dw[to], o->db[to], o->x, o->dz);
        break;
    }
}

static enum ls_code verify(const struct ls_ops *ops, const struct operands *o, const struct timed *t,
                           int threads, struct ls_error *err)
{
    const struct ls_dense_shape s = o->shape;
    run(&ls_ops_serial, &(struct run){o, t, 0});
    for (int n = 1;; n = threads) {
        ls_ops_set_threads(n);
        run(ops, &(struct run){o, t, 1});
        const int same = t->product == FORWARD
                             ? !memcmp(o->y[0], o->y[1], (size_t)(s.B * s.N) * sizeof(float))
                         : t->product == INPUT_GRADIENT
                             ? !memcmp(o->dx[0], o->dx[1], (size_t)(s.B * s.K) * sizeof(float))
                             : !memcmp(o->dw[0], o->dw[1], (size_t)(s.K * s.N) * sizeof(float)) &&
                                   !memcmp(o->db[0], o->db[1], (size_t)s.N * sizeof(float));
        if (!same)
            return ls_fail(err, LS_DIFFERENT,
                           "%s of B %td, N %td, K %td: %s on %d threads differs from the oracle", t->name,
                           s.B, s.N, s.K, ops->name, n);
        if (n == threads)
            return LS_OK;
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void ls_bench_time(const struct ls_ops *ops, ls_bench_run *body, const void *context, double flops,
                   int threads, double seconds, double *top)
{
    enum { ROUNDS = 8 };
    static double took[MOST_REPEATS];
    double peak[ROUNDS];
    int n = 0;
    ls_ops_set_threads(threads);
    body(ops, context);
    for (int round = 0; round < ROUNDS; round++) {
        peak[round] = ls_machine_fma_gflops(ops, threads, seconds / ROUNDS / 4);
        body(ops, context); /* not timed: the peak left the caches cold, or the threads waiting */
        const double until = ls_now_s() + seconds / ROUNDS * 0.75;
        do {
            const double began = ls_now_s();
            body(ops, context);
            took[n++] = ls_now_s() - began;
        } while (ls_now_s() < until && n < MOST_REPEATS * (round + 1) / ROUNDS);
    }
    qsort(took, (size_t)n, sizeof *took, ascending);
    qsort(peak, ROUNDS, sizeof *peak, ascending);
    *top = peak[ROUNDS - 1] > *top ? peak[ROUNDS - 1] : *top;
    const double best = flops / took[0] * 1e-9, median = flops / took[n / 2] * 1e-9;
    printf("  %9.1f us %6.1f %4.0f %% %6.1f %4.0f %%", took[0] * 1e6, best, 100 * best / *top, median,
           100 * median / peak[ROUNDS / 2]);
    fflush(stdout);
}

static void print_head(const struct ls_session *session, int threads, const double top[2])
{
    printf("%s; peak of fma: %.1f GFLOP/s on 1 thread", session->ops->name, top[0]);
    if (threads > 1)
        printf(", %.1f on %d", top[1], threads);
    printf("\nGFLOP/s and shares of the peak measured between the repeats; best, then median\n\n");
    printf("   B x   N x   K  %-22s  %-37s", "product", "1 thread");
    if (threads > 1)
        printf("  %d threads", threads);
    printf("\n");
}

enum ls_code ls_bench_kernels(struct ls_session *session, double seconds, struct ls_error *err)
{
    const int threads = session->ops == &ls_ops_serial ? 1 : session->threads;
    const double each = seconds / (N_SHAPES * N_TIMED * (threads > 1 ? 2 : 1));
    double top[2] = {ls_machine_fma_gflops(session->ops, 1, each), 0};
    if (threads > 1)
        top[1] = ls_machine_fma_gflops(session->ops, threads, each);
    print_head(session, threads, top);
    enum ls_code code = LS_OK;
    for (int s = 0; code == LS_OK && s < N_SHAPES; s++) {
        struct operands o;
        code = operands_init(&o, shapes[s], err);
        for (int t = 0; code == LS_OK && t < N_TIMED; t++) {
            code = verify(session->ops, &o, &all_timed[t], threads, err);
            if (code != LS_OK)
                break;
            printf("%4td x%5td x%5td %-22s", shapes[s].B, shapes[s].N, shapes[s].K, all_timed[t].name);
            const struct run timed = {&o, &all_timed[t], 1};
            const double flops = 2.0 * (double)shapes[s].B * (double)shapes[s].N * (double)shapes[s].K;
            ls_bench_time(session->ops, run, &timed, flops, 1, each, &top[0]);
            if (threads > 1)
                ls_bench_time(session->ops, run, &timed, flops, threads, each, &top[1]);
            printf("\n");
        }
        operands_release(&o);
    }
    if (code == LS_OK)
        code = ls_bench_convolutions(session->ops, threads, seconds, top, err);
    ls_ops_set_threads(session->threads);
    return code;
}
