/* lrfind: the curve is that of training under an exponential rate, the same on any ranks; when it ends; what
 * it suggests, and when it suggests nothing. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"
#include "train/lr_curve.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S, MOST = 200 };

static struct ls_error err;

/* --- curves made up --- */

static struct ls_lr_suggestion judge(int n, double smoothing, double (*loss)(double decade))
{
    struct ls_lr_curve curve;
    cr_assert_eq(ls_lr_curve_create(&curve, n, smoothing, 4.0, &err), LS_OK);
    for (int i = 0; i < n && !curve.rose; i++) {
        const double decade = -6.0 + 7.0 * i / (n - 1);
        ls_lr_curve_add(&curve, (float)pow(10, decade), (float)loss(decade));
    }
    const struct ls_lr_suggestion s = ls_lr_curve_suggest(&curve);
    ls_lr_curve_release(&curve);
    return s;
}

/* Falls from 2 to 1 around 1e-3, steepest there, and rises from 1e-1 on. */
static double a_valley(double decade)
{
    return 1.5 - 0.5 * tanh(2 * (decade + 3)) + (decade > -1 ? 9 * (decade + 1) * (decade + 1) : 0);
}

static double flat(double decade)
{
    return 2 + 0.001 * sin(decade);
}

static double only_rises(double decade)
{
    return 2 + exp(2 * (decade + 4));
}

static double falls_to_the_end(double decade)
{
    return 2 - 0.2 * (decade + 6);
}

/* Up to 100 with the first update, and from there down to 50. */
static double leaps(double decade)
{
    return decade == -6.0 ? 2.0 : 80 - 10 * tanh(decade + 1);
}

static double noise(double decade)
{
    return fabs(2 + 1.9 * sin(1e4 * (decade + 7)));
}

Test(lrfind, the_steepest_place_and_the_least_are_found)
{
    const struct ls_lr_suggestion s = judge(141, 0, a_valley);
    cr_assert_eq(s.verdict, LS_LR_FOUND);
    cr_assert(labs(s.steepest - 60) <= 1, "steepest at point %lld, not 60", (long long)s.steepest);
    cr_assert(labs(s.least - 100) <= 1, "least at point %lld, not 100", (long long)s.least);
    cr_assert(fabs(s.slope + 1.0) < 0.1, "%g a decade", s.slope);
    cr_assert(fabs(s.fall - 0.5) < 0.01, "a fall of %g", s.fall);
}

Test(lrfind, a_curve_that_shows_nothing_is_called_so)
{
    cr_assert_eq(judge(100, 0.9, flat).verdict, LS_LR_FLAT);
    cr_assert_eq(judge(100, 0.9, only_rises).verdict, LS_LR_ONLY_RISES);
    cr_assert_eq(judge(100, 0.9, leaps).verdict, LS_LR_ONLY_RISES);
    cr_assert_eq(judge(100, 0.9, noise).verdict, LS_LR_NOISY);
    cr_assert_eq(judge(100, 0.9, falls_to_the_end).verdict, LS_LR_STILL_FALLING);
    cr_assert_eq(judge(100, 0.9, a_valley).verdict, LS_LR_FOUND);
}

Test(lrfind, few_points_are_too_few)
{
    for (int n = 0; n < 12; n++) {
        struct ls_lr_curve curve;
        cr_assert_eq(ls_lr_curve_create(&curve, 100, 0.5, 4.0, &err), LS_OK);
        for (int i = 0; i < n; i++)
            ls_lr_curve_add(&curve, 0.1f * (float)(i + 1), 2.0f / (float)(i + 1));
        const enum ls_lr_verdict verdict = ls_lr_curve_suggest(&curve).verdict;
        cr_assert((verdict == LS_LR_TOO_SHORT) == (n < 9), "%d points: %d", n, (int)verdict);
        ls_lr_curve_release(&curve);
    }
}

/* --- the program --- */

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

struct point {
    int step;
    float rate, loss;
    double smoothed;
};

static int read_csv(const char *text, struct point points[MOST])
{
    const char head[] = "step,learning_rate,loss,smoothed\n";
    cr_assert(strncmp(text, head, strlen(head)) == 0, "%s", text);
    int n = 0;
    for (const char *line = text + strlen(head); *line; line = strchr(line, '\n') + 1) {
        struct point *p = &points[n++];
        cr_assert(n <= MOST &&
                      sscanf(line, "%d,%f,%f,%lf\n", &p->step, &p->rate, &p->loss, &p->smoothed) == 4,
                  "%s", line);
        cr_assert_eq(p->step, n);
    }
    return n;
}

Test(lrfind, the_rate_grows_exponentially_and_the_average_is_corrected, .timeout = LIMIT_S)
{
    struct point p[MOST];
    const struct ls_outcome *o =
        lockstep(1, "lrfind --from 1e-5 --to 0.1 --steps 60 --smoothing 0.8 --csv -");
    check_status(o, 0, "lrfind");
    cr_assert_eq(read_csv(o->out, p), 60);
    cr_assert_eq(p[0].rate, 1e-5f);
    double average = 0;
    for (int i = 0; i < 60; i++) {
        const double rate = 1e-5 * pow(1e4, i / 59.0);
        cr_assert(fabs((double)p[i].rate / rate - 1) < 1e-5, "step %d: rate %.9g, not %.9g", i + 1,
                  (double)p[i].rate, rate);
        average = 0.8 * average + 0.2 * (double)p[i].loss;
        const double smoothed = average / (1 - pow(0.8, i + 1));
        cr_assert(fabs(p[i].smoothed / smoothed - 1) < 1e-8, "step %d: smoothed %.9g, not %.9g", i + 1,
                  p[i].smoothed, smoothed);
    }
    cr_assert(strstr(o->err, "suggestion  --lr ") || strstr(o->err, "warning: "), "%s", o->err);
}

/* Two updates at the same two rates. */
Test(lrfind, its_updates_are_those_of_training, .timeout = LIMIT_S)
{
    struct point p[MOST];
    const char *const net = "--net 'dense 16, tanh, dense 10' --batch 50 --momentum 0.9 --seed 3";
    const struct ls_outcome *o = lockstep(1, "lrfind %s --from 0.25 --to 128 --steps 10 --csv -", net);
    check_status(o, 0, "lrfind");
    cr_assert(read_csv(o->out, p) >= 3);
    cr_assert(fabs((double)p[1].rate / 0.5 - 1) < 1e-6);
    const struct folder folder = folder_create();
    o = lockstep(
        1,
        "train %s --lr 0.25 --schedule 'exponential every=1u factor=%.9g' --steps 3 --hash-every 1 --quiet "
        "--log %s/log",
        net, (double)p[1].rate / 0.25, folder.path);
    check_status(o, 0, "train");
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    const char *line = log;
    for (int i = 0; i < 3; i++) {
        line = strstr(line, "{\"event\":\"step\"");
        cr_assert_not_null(line);
        const float loss = strtof(strstr(line, "\"loss\":") + 7, NULL);
        cr_assert_eq(loss, p[i].loss, "step %d: %.9g, training has %.9g", i + 1, (double)p[i].loss,
                     (double)loss);
        line++;
    }
    free(log);
    folder_destroy(&folder);
}

Test(lrfind, it_ends_when_the_loss_rises, .timeout = LIMIT_S)
{
    struct point p[MOST];
    const struct folder folder = folder_create();
    const struct ls_outcome *o = lockstep(1, "lrfind --csv %s/curve", folder.path);
    check_status(o, 0, "lrfind");
    cr_assert(strstr(o->out, "stopped: the smoothed loss is more than 4 times its least\n") &&
                  strstr(o->out, "\nsuggestion  --lr 0.") && strstr(o->out, "\nor          --lr 0.") &&
                  strstr(o->out, "| steepest\n") && strstr(o->out, "| least\n") && !*o->err,
              "%s%s", o->out, o->err);
    int rows = 0;
    for (const char *c = o->out; (c = strchr(c, '|')); c++)
        rows++;
    cr_assert(rows / 2 >= 20 && rows / 2 <= 30, "%d rows", rows / 2);
    size_t size;
    char *text = read_file(in_folder(&folder, "curve").path, &size);
    const int n = read_csv(text, p);
    cr_assert(n < 100);
    double best = p[5].smoothed;
    for (int i = 6; i < n; i++) {
        cr_assert((p[i].smoothed > 4 * best) == (i == n - 1), "step %d of %d: %g, %g before", i + 1, n,
                  p[i].smoothed, best);
        best = p[i].smoothed < best ? p[i].smoothed : best;
    }
    free(text);
    folder_destroy(&folder);
}

Test(lrfind, the_same_curve_however_it_is_spread, .timeout = LIMIT_S)
{
    static char serial[LS_OUTCOME_TEXT];
    static const char words[] =
        "lrfind --csv - --net 'dense 24, relu, batchnorm, dropout 0.2, dense 10' --optimizer adam "
        "--batch 90 --microbatch 8 --accumulate 2";
    const struct ls_outcome *o = lockstep(1, "%s --serial", words);
    check_status(o, 0, "serial");
    snprintf(serial, sizeof serial, "%s", o->out);
    cr_assert(lines_beginning(serial, "1") > 10, "%s", serial);
    check_status(o = lockstep(1, "%s --threads 3", words), 0, "threads");
    cr_assert_str_eq(o->out, serial, "3 threads");
    check_status(o = lockstep_after(1, "LOCKSTEP_ISA=portable", "%s", words), 0, "portable");
    cr_assert_str_eq(o->out, serial, "portable");
    if (LS_WITH_MPI) {
        check_status(o = lockstep(3, "%s", words), 0, "3 ranks");
        cr_assert_str_eq(o->out, serial, "3 ranks");
    }
}

Test(lrfind, warnings_in_place_of_a_rate, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *warning;
        int suggests;
    } cases[] = {
        {"--to 1e-4", "the loss hardly changes over the whole range: give a higher --to", 0},
        {"--from 10 --to 1e4", "the loss rises at once: give a lower --from", 0},
        {"--init normal=3 --from 1e8 --to 1e30", "ended after too few updates", 0},
        {"--batch 1", "no more than it differs between batches: give a larger --batch", 0},
        {"--to 0.1", "the loss is least at the end of the range: a higher --to", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int ranks = 1; ranks <= (LS_WITH_MPI && i == 2 ? 3 : 1); ranks += 2) {
            const struct ls_outcome *o = lockstep(ranks, "lrfind --quiet %s", cases[i].words);
            check_status(o, 0, cases[i].words);
            cr_assert(strstr(o->err, cases[i].warning), "%s: %s", cases[i].words, o->err);
            cr_assert((strstr(o->out, "suggestion  --lr ") != NULL) == cases[i].suggests, "%s: %s",
                      cases[i].words, o->out);
        }
}

Test(lrfind, a_model_that_cannot_start_is_a_failure, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "lrfind --init normal=1e30 --quiet");
    check_status(o, 4, "lrfind");
    cr_assert(strstr(o->err, "no update was made yet"), "%s", o->err);
}

Test(lrfind, a_saved_model_is_where_it_starts, .timeout = LIMIT_S)
{
    struct point p[MOST];
    const struct folder folder = folder_create();
    check_status(lockstep(1, "train --epochs 5 --quiet --save %s/model", folder.path), 0, "train");
    const struct ls_outcome *o = lockstep(1, "lrfind --load %s/model --csv -", folder.path);
    check_status(o, 0, "lrfind");
    cr_assert(read_csv(o->out, p) > 10 && p[0].loss < 1.0f, "the first loss is %g", (double)p[0].loss);
    folder_destroy(&folder);
}
