/* The oracle's activations. */
#include "compute/serial/serial.h"

#include "base/contract.h"
#include "base/elementary.h"

/* The standard normal distribution function. */
static float normal_cdf(float z)
{
    return ls_fma(0.5f, ls_erf(z * 0.70710678118f), 0.5f);
}

void ls_serial_activation_forward(enum ls_activation act, float slope, ptrdiff_t n, float *y, const float *z)
{
    for (ptrdiff_t i = 0; i < n; i++)
        switch (act) {
        case LS_ACT_NONE:
            y[i] = z[i];
            break;
        case LS_ACT_RELU:
            y[i] = z[i] <= 0.0f ? 0.0f : z[i];
            break;
        case LS_ACT_TANH:
            y[i] = ls_tanh(z[i]);
            break;
        case LS_ACT_SIGMOID:
            y[i] = ls_sigmoid(z[i]);
            break;
        case LS_ACT_LEAKYRELU:
            y[i] = z[i] <= 0.0f ? slope * z[i] : z[i];
            break;
        case LS_ACT_GELU:
            y[i] = z[i] * normal_cdf(z[i]);
            break;
        case LS_ACT_SOFTPLUS:
            y[i] = (z[i] <= 0.0f ? 0.0f : z[i]) + ls_log1p(ls_exp(z[i] < 0.0f ? z[i] : -z[i]));
            break;
        }
}

void ls_serial_activation_backward(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                   const float *dy, const float *y)
{
    for (ptrdiff_t i = 0; i < n; i++)
        switch (act) {
        case LS_ACT_NONE:
            dz[i] = dy[i];
            break;
        case LS_ACT_RELU:
            dz[i] = y[i] <= 0.0f ? 0.0f : dy[i];
            break;
        case LS_ACT_TANH:
            dz[i] = dy[i] * ls_fma(-y[i], y[i], 1.0f);
            break;
        case LS_ACT_SIGMOID:
            dz[i] = dy[i] * ls_fma(-y[i], y[i], y[i]);
            break;
        case LS_ACT_LEAKYRELU:
            dz[i] = y[i] <= 0.0f ? slope * dy[i] : dy[i];
            break;
        case LS_ACT_GELU: {
            const float density = ls_exp(-0.5f * y[i] * y[i]) * 0.3989422804f;
            dz[i] = dy[i] * ls_fma(y[i], density, normal_cdf(y[i]));
            break;
        }
        case LS_ACT_SOFTPLUS:
            dz[i] = dy[i] * ls_sigmoid(y[i]);
            break;
        }
}
