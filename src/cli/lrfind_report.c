/* Owns the look of a range test. */
#include "cli/lrfind_report.h"

#include <string.h>

#include "base/text.h"

enum { ROWS = 25, WIDTH = 44, CSV_LINE = 120 };

/* The ends of the plot's axis.  What lies above is at its right edge: the last points of a curve that rises
 * would press all others against the left one. */
struct axis {
    double low, high;
};

static int found(const struct ls_lr_suggestion *s)
{
    return s->verdict == LS_LR_FOUND || s->verdict == LS_LR_STILL_FALLING;
}

static struct axis axis_of(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *s)
{
    struct axis axis = {curve->points[0].smoothed, curve->points[0].smoothed};
    const int64_t end = found(s) ? s->least + 1 : curve->n;
    for (int64_t i = 0; i < end; i++) {
        const double y = curve->points[i].smoothed;
        axis.low = y < axis.low ? y : axis.low;
        axis.high = y > axis.high ? y : axis.high;
    }
    axis.high += 0.1 * (axis.high - axis.low);
    if (!(axis.high > axis.low))
        axis.high = axis.low + 1.0;
    return axis;
}

static void plot(struct axis axis, double y, char text[WIDTH + 1])
{
    const double x = (y - axis.low) / (axis.high - axis.low) * (WIDTH - 1) + 0.5;
    memset(text, ' ', WIDTH);
    if (x >= WIDTH)
        text[WIDTH - 1] = '>';
    else
        text[x > 0 ? (int)x : 0] = '*';
    text[WIDTH] = '\0';
}

static void print_row(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *s, struct axis axis,
                      int64_t i)
{
    char picture[WIDTH + 1];
    const struct ls_lr_point *p = &curve->points[i];
    plot(axis, p->smoothed, picture);
    printf("%6lld %10.3g %10.4g %10.4g |%s|%s%s\n", (long long)i + 1, (double)p->rate, (double)p->loss,
           p->smoothed, picture, found(s) && i == s->steepest ? " steepest" : "",
           found(s) && i == s->least ? " least" : "");
}

void ls_lr_print_table(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *suggestion,
                       enum ls_lr_ending ending)
{
    static const char *const endings[] = {"the whole range was tried",
                                          "stopped: the smoothed loss is more than 4 times its least",
                                          "stopped: the next update's loss is not finite"};
    const struct axis axis = axis_of(curve, suggestion);
    const int64_t every = (curve->n + ROWS - 1) / ROWS;
    char low[32], high[32];
    snprintf(low, sizeof low, "%.4g", axis.low);
    snprintf(high, sizeof high, "%.4g", axis.high);
    printf("  step       rate       loss   smoothed  %s%*s\n", low, WIDTH - (int)strlen(low), high);
    for (int64_t i = 0; i < curve->n; i++)
        if (i % every == 0 || i == curve->n - 1 ||
            (found(suggestion) && (i == suggestion->steepest || i == suggestion->least)))
            print_row(curve, suggestion, axis, i);
    printf("%s\n\n", endings[ending]);
}

/* Rates and losses so that they read back as the same binary32. */
static int csv_line(const struct ls_lr_curve *curve, int64_t i, char text[CSV_LINE])
{
    const struct ls_lr_point *p = &curve->points[i];
    char rate[LS_FLOAT_TEXT], loss[LS_FLOAT_TEXT];
    return snprintf(text, CSV_LINE, "%lld,%s,%s,%.9g\n", (long long)i + 1, ls_text_of_float(p->rate, rate),
                    ls_text_of_float(p->loss, loss), p->smoothed);
}

static const char csv_head[] = "step,learning_rate,loss,smoothed\n";

void ls_lr_print_csv(const struct ls_lr_curve *curve)
{
    char line[CSV_LINE];
    printf("%s", csv_head);
    for (int64_t i = 0; i < curve->n; i++) {
        csv_line(curve, i, line);
        printf("%s", line);
    }
}

enum ls_code ls_lr_save_csv(const struct ls_lr_curve *curve, struct ls_savefile *file, struct ls_error *err)
{
    char line[CSV_LINE];
    enum ls_code code = ls_savefile_write(file, csv_head, strlen(csv_head), err);
    for (int64_t i = 0; code == LS_OK && i < curve->n; i++)
        code = ls_savefile_write(file, line, (size_t)csv_line(curve, i, line), err);
    return code == LS_OK ? ls_savefile_commit(file, err) : code;
}

static void warn(enum ls_lr_verdict verdict, const struct ls_lr_curve *curve)
{
    static const char *const reasons[] = {
        [LS_LR_TOO_SHORT] =
            "it ended after too few updates to show anything: give a lower --from, or more --steps",
        [LS_LR_NOISY] = "the loss falls by no more than it differs between batches: give a larger --batch, "
                        "or more --steps with a --smoothing nearer to 1",
        [LS_LR_FLAT] =
            "the loss hardly changes over the whole range: give a higher --to or more --steps, or check "
            "that the inputs are scaled and the net can learn at all",
        [LS_LR_ONLY_RISES] = "the loss rises at once: give a lower --from, more --steps, or another "
                             "--init",
    };
    fprintf(stderr, "warning: the curve of %lld updates suggests no learning rate: %s\n", (long long)curve->n,
            reasons[verdict]);
}

void ls_lr_print_suggestion(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *s, FILE *out)
{
    if (!found(s)) {
        warn(s->verdict, curve);
        return;
    }
    const struct ls_lr_point *steep = &curve->points[s->steepest], *least = &curve->points[s->least];
    fprintf(out, "suggestion  --lr %-8.2g the smoothed loss falls fastest there, by %.2g a decade\n",
            (double)steep->rate, -s->slope);
    fprintf(out, "or          --lr %-8.2g a tenth of the rate %.2g at which it is least, %.4g\n",
            (double)least->rate / 10, (double)least->rate, least->smoothed);
    if (s->verdict == LS_LR_STILL_FALLING)
        fprintf(stderr,
                "warning: the loss is least at the end of the range: a higher --to may show a better rate\n");
}
