/* `lockstep bench scaling`: its layouts, the model of the allreduce, and the command on several ranks. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/allreduce_model.h"
#include "cli/bench_layouts.h"
#include "files.h"
#include "lockstep.h"

static const char *text_of(const struct ls_layouts *layouts)
{
    static char text[500];
    text[0] = '\0';
    for (int i = 0; i < layouts->n; i++)
        sprintf(text + strlen(text), "%s%dx%d", i ? "," : "", layouts->at[i].ranks, layouts->at[i].threads);
    return text;
}

Test(bench_scaling, layouts)
{
    static const struct {
        const char *text;
        int n_ranks, threads;
        const char *expected; /* or what the message says */
    } cases[] = {
        {NULL, 1, 1, "1x1"},
        {NULL, 1, 4, "1x1,1x4"},
        {NULL, 6, 1, "1x1,2x1,4x1,6x1"},
        {NULL, 8, 2, "1x1,1x2,2x2,4x2,8x2"},
        {"2x1", 2, 1, "1x1,2x1"},
        {"3x2,1x1,3x2,2x1", 3, 1, "1x1,2x1,1x2,3x2"},
        {"2x1,", 2, 1, "'' is no layout"},
        {"2", 2, 1, "'2' is no layout"},
        {"0x1", 2, 1, "'0x1' is no layout"},
        {"1x0", 2, 1, "'1x0' is no layout"},
        {"1x4097", 2, 1, "'1x4097' is no layout"},
        {"4x1", 2, 1, "4x1 wants 4 ranks, this job has 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ls_layouts layouts;
        struct ls_error err = {.code = LS_OK};
        const enum ls_code code =
            ls_layouts_choose(&layouts, cases[i].text, cases[i].n_ranks, cases[i].threads, &err);
        if (cases[i].expected[0] == '1')
            cr_expect(code == LS_OK && strcmp(text_of(&layouts), cases[i].expected) == 0, "%s: %s, not %s",
                      cases[i].text, code == LS_OK ? text_of(&layouts) : err.text, cases[i].expected);
        else
            cr_expect(code == LS_USAGE && strstr(err.text, cases[i].expected), "%s: '%s'", cases[i].text,
                      err.text);
    }
}

static double time_of(const double c[4], int ranks, int hosts, double bytes)
{
    const double on_host = (double)ranks / hosts;
    return c[0] * ceil(log2(on_host)) + (on_host > 1 ? c[1] * bytes : 0) + c[2] * ceil(log2(hosts)) +
           c[3] * bytes * 2 * (hosts - 1) / hosts;
}

static int measure(struct ls_allreduce_sample *samples, const double c[4], double spoil)
{
    static const int layouts[][2] = {{2, 1}, {4, 1}, {3, 3}, {4, 2}, {8, 4}, {12, 3}};
    int n = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (double bytes = 4096; bytes < 1e8; bytes *= 16, n++)
            samples[n] = (struct ls_allreduce_sample){
                layouts[i][0], layouts[i][1], bytes,
                time_of(c, layouts[i][0], layouts[i][1], bytes) * (n % 2 ? 1 + spoil : 1 - spoil)};
    return n;
}

/* The coefficients that times were made with come back; of spoilt times, about. */
Test(bench_scaling, model)
{
    static const double all[][4] = {
        {2e-6, 1e-10, 2e-5, 1e-9}, {0, 1e-10, 2e-5, 0}, {5e-7, 3e-11, 1e-3, 8e-8}};
    struct ls_allreduce_sample samples[100];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const int n = measure(samples, all[i], 0);
        for (int s = 0; s < n; s++)
            samples[s].seconds = fmax(samples[s].seconds, 1e-9);
        const struct ls_allreduce_model model = ls_allreduce_fit(samples, n);
        cr_expect(model.n == n && model.largest_error < 1e-6 && model.typical_error <= model.largest_error,
                  "case %zu: error %g", i, model.largest_error);
        for (int c = 0; c < 4; c++)
            cr_expect(fabs(model.coefficient[c] - all[i][c]) <= 1e-6 * all[i][c] + 1e-15,
                      "case %zu: coefficient %d is %g, not %g", i, c, model.coefficient[c], all[i][c]);
        cr_expect(fabs(ls_allreduce_predict(&model, 64, 8, 5e6) / time_of(all[i], 64, 8, 5e6) - 1) < 1e-6);
    }
    const struct ls_allreduce_model spoilt = ls_allreduce_fit(samples, measure(samples, all[0], 0.1));
    cr_expect(spoilt.typical_error > 0.05 && spoilt.typical_error < 0.11 && spoilt.largest_error < 0.2,
              "errors %g, %g", spoilt.typical_error, spoilt.largest_error);
    for (int c = 0; c < 4; c++)
        cr_expect(fabs(spoilt.coefficient[c] / all[0][c] - 1) < 0.25, "coefficient %d: %g", c,
                  spoilt.coefficient[c]);
}

/* Of two ranks on one host only two terms can be told; none is negative, and no samples say 0. */
Test(bench_scaling, model_of_little)
{
    const struct ls_allreduce_sample falling[] = {{2, 1, 1e4, 2e-6}, {2, 1, 1e6, 1e-6}};
    const struct ls_allreduce_model model = ls_allreduce_fit(falling, 2), none = ls_allreduce_fit(falling, 0);
    for (int c = 0; c < 4; c++)
        cr_expect(model.coefficient[c] >= 0 && none.coefficient[c] == 0.0);
    cr_expect(model.coefficient[2] == 0.0 && model.coefficient[3] == 0.0 && model.coefficient[0] > 0);
    cr_expect(ls_allreduce_predict(&model, 1, 1, 1e6) == 0.0);
}
