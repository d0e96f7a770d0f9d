/* Owns the terms of the model and its fit.  See allreduce_model.h. */
#include "cli/allreduce_model.h"

#include <math.h>
#include <string.h>

enum { N = LS_ALLREDUCE_TERMS };

static double levels(double n)
{
    double level = 0;
    for (double reach = 1; reach < n; reach *= 2)
        level++;
    return level;
}

static void terms_of(int ranks, int hosts, double bytes, double terms[N])
{
    const double on_host = (double)ranks / hosts;
    terms[0] = levels(on_host);
    terms[1] = on_host > 1 ? bytes : 0;
    terms[2] = levels(hosts);
    terms[3] = bytes * 2 * (hosts - 1) / hosts;
}

static double predict(const double coefficient[N], int ranks, int hosts, double bytes)
{
    double terms[N], seconds = 0;
    terms_of(ranks, hosts, bytes, terms);
    for (int i = 0; i < N; i++)
        seconds += coefficient[i] * terms[i];
    return seconds;
}

/* Gauss and Jordan with row pivots, of the terms in `used`; 0 when they cannot be told apart. */
static int solve(double matrix[N][N], const double right[N], unsigned used, double x[N])
{
    double a[N][N + 1];
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            a[i][j] = used >> i & used >> j & 1u ? matrix[i][j] : i == j;
        a[i][N] = used >> i & 1u ? right[i] : 0;
    }
    for (int k = 0; k < N; k++) {
        const double whole = a[k][k];
        if (!(whole > 1e-12))
            return 0;
        for (int j = 0; j <= N; j++)
            a[k][j] /= whole;
        for (int i = 0; i < N; i++) {
            const double factor = a[i][k];
            for (int j = 0; i != k && j <= N; j++)
                a[i][j] -= factor * a[k][j];
        }
    }
    for (int i = 0; i < N; i++)
        x[i] = a[i][N];
    return 1;
}

static double square_error(const struct ls_allreduce_sample *samples, int n, const double coefficient[N],
                           double *largest)
{
    double sum = 0;
    *largest = 0;
    for (int s = 0; s < n; s++) {
        const double error =
            predict(coefficient, samples[s].ranks, samples[s].hosts, samples[s].bytes) / samples[s].seconds -
            1;
        sum += error * error;
        *largest = fmax(*largest, fabs(error));
    }
    return sum;
}

/* Four terms have 15 choices of those that are not 0: the best of them that has no negative one. */
struct ls_allreduce_model ls_allreduce_fit(const struct ls_allreduce_sample *samples, int n)
{
    struct ls_allreduce_model model = {.n = n};
    double matrix[N][N] = {{0}}, right[N] = {0}, scale[N], best = INFINITY;
    for (int s = 0; s < n; s++) {
        double terms[N];
        terms_of(samples[s].ranks, samples[s].hosts, samples[s].bytes, terms);
        for (int i = 0; i < N; i++) {
            right[i] += terms[i] / samples[s].seconds;
            for (int j = 0; j < N; j++)
                matrix[i][j] += terms[i] * terms[j] / (samples[s].seconds * samples[s].seconds);
        }
    }
    /* Seconds and seconds a byte are 1e10 apart: scaled, the diagonal is 1, or 0 of a term that does not
     * occur. */
    for (int i = 0; i < N; i++)
        scale[i] = matrix[i][i] > 0 ? sqrt(matrix[i][i]) : 1;
    for (int i = 0; i < N; i++) {
        right[i] /= scale[i];
        for (int j = 0; j < N; j++)
            matrix[i][j] /= scale[i] * scale[j];
    }
    for (unsigned used = 1; n > 0 && used < 1u << N; used++) {
        double x[N], largest;
        int fits = solve(matrix, right, used, x);
        for (int i = 0; fits && i < N; i++) {
            fits = x[i] >= 0;
            x[i] /= scale[i];
        }
        const double error = fits ? square_error(samples, n, x, &largest) : INFINITY;
        if (error < best) {
            best = error;
            memcpy(model.coefficient, x, sizeof x);
            model.typical_error = sqrt(error / n);
            model.largest_error = largest;
        }
    }
    return model;
}

double ls_allreduce_predict(const struct ls_allreduce_model *model, int ranks, int hosts, double bytes)
{
    return predict(model->coefficient, ranks, hosts, bytes);
}
