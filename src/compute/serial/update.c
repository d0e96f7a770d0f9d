/* The oracle's updates of parameters, and the norms that some of them need. */
#include "compute/serial/serial.h"

#include <math.h>

#include "base/contract.h"

static float clipped_gradient(const struct ls_update *rule, float sum)
{
    float g = sum * rule->gradient_scale;
    if (rule->clip_factor != 1.0f)
        g = g * rule->clip_factor;
    if (rule->clip_value != 0.0f) {
        if (g > rule->clip_value)
            g = rule->clip_value;
        if (g < -rule->clip_value)
            g = -rule->clip_value;
    }
    return g;
}

static float sgd(const struct ls_update *rule, float w, float *v, float g)
{
    if (rule->momentum == 0.0f)
        return ls_fma(-rule->rate, g, w);
    *v = ls_fma(rule->momentum, *v, g);
    return ls_fma(-rule->rate, rule->nesterov ? ls_fma(rule->momentum, *v, g) : *v, w);
}

static float lars(const struct ls_update *rule, float w, float *v, float g)
{
    if (rule->momentum == 0.0f)
        return ls_fma(-rule->rate, g, w);
    *v = ls_fma(rule->momentum, *v, rule->rate * g);
    return w - *v;
}

static float adagrad(const struct ls_update *rule, float w, float *s, float g)
{
    *s = ls_fma(g, g, *s);
    return ls_fma(-rule->rate, g / (__builtin_sqrtf(*s) + rule->epsilon), w);
}

static float rmsprop(const struct ls_update *rule, float w, float *v, float *s, float g)
{
    *s = ls_fma(rule->beta2, *s, (1.0f - rule->beta2) * (g * g));
    const float q = g / (__builtin_sqrtf(*s) + rule->epsilon);
    if (rule->momentum == 0.0f)
        return ls_fma(-rule->rate, q, w);
    *v = ls_fma(rule->momentum, *v, q);
    return ls_fma(-rule->rate, *v, w);
}

static void moments(const struct ls_update *rule, float *v, float *s, float g)
{
    *v = ls_fma(rule->beta1, *v, (1.0f - rule->beta1) * g);
    *s = ls_fma(rule->beta2, *s, (1.0f - rule->beta2) * (g * g));
}

static float adam(const struct ls_update *rule, float w, float *v, float *s, float g)
{
    moments(rule, v, s, g);
    return ls_fma(-rule->rate, *v / ls_fma(__builtin_sqrtf(*s), rule->correction2, rule->epsilon), w);
}

int64_t ls_serial_update(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                         float *velocity, float *square, const float *sum)
{
    int64_t not_finite = 0;
    for (ptrdiff_t i = 0; i < rows * columns; i++) {
        float g = clipped_gradient(rule, sum[i]);
        if (rule->weight_decay != 0.0f)
            g = ls_fma(rule->weight_decay, w[i], g);
        if (rule->keep != 1.0f)
            w[i] = w[i] * rule->keep;
        switch (rule->kind) {
        case LS_UPDATE_SGD:
            w[i] = sgd(rule, w[i], velocity + i, g);
            break;
        case LS_UPDATE_LARS:
            w[i] = lars(rule, w[i], velocity + i, g);
            break;
        case LS_UPDATE_ADAGRAD:
            w[i] = adagrad(rule, w[i], square + i, g);
            break;
        case LS_UPDATE_RMSPROP:
            w[i] = rmsprop(rule, w[i], velocity + i, square + i, g);
            break;
        case LS_UPDATE_ADAM:
            w[i] = adam(rule, w[i], velocity + i, square + i, g);
            break;
        }
        not_finite += !isfinite(w[i]);
    }
    return not_finite;
}

void ls_serial_adam_direction(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns,
                              float *direction, const float *w, float *velocity, float *square,
                              const float *sum)
{
    for (ptrdiff_t i = 0; i < rows * columns; i++) {
        moments(rule, velocity + i, square + i, clipped_gradient(rule, sum[i]));
        direction[i] = (velocity[i] * rule->correction1) /
                       ls_fma(__builtin_sqrtf(square[i]), rule->correction2, rule->epsilon);
        if (rule->weight_decay != 0.0f)
            direction[i] = ls_fma(rule->weight_decay, w[i], direction[i]);
    }
}

void ls_serial_square_blocks(ptrdiff_t n, const float *v, float factor, float *sums)
{
    for (ptrdiff_t at = 0; at < n; at += LS_LANESUM_BLOCK) {
        float squares[LS_LANESUM_BLOCK];
        const ptrdiff_t count = n - at < LS_LANESUM_BLOCK ? n - at : LS_LANESUM_BLOCK;
        for (ptrdiff_t i = 0; i < count; i++) {
            const float t = v[at + i] * factor;
            squares[i] = t * t;
        }
        sums[at / LS_LANESUM_BLOCK] = ls_lanesum_block(squares, count);
    }
}

float ls_serial_square_sum(ptrdiff_t n, const float *v, float factor)
{
    struct ls_tree tree = {.count = 0};
    for (ptrdiff_t at = 0; at < n; at += LS_LANESUM_BLOCK) {
        float sum;
        ls_serial_square_blocks(n - at < LS_LANESUM_BLOCK ? n - at : LS_LANESUM_BLOCK, v + at, factor, &sum);
        ls_tree_push(&tree, sum);
    }
    return ls_tree_sum(&tree);
}
