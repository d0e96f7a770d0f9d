/* Owns the look of an evaluation. */
#include "cli/eval_report.h"

#include "base/text.h"

/* A matrix of more classes than this is wider than a screen: its largest entries are listed instead. */
enum { MATRIX_CLASSES = 20, LISTED_CONFUSIONS = 20, PERCENT_TEXT = 16 };

/* "84.51 %", or "-" for what is not defined. */
static const char *percent(double ratio, int defined, char text[PERCENT_TEXT])
{
    if (defined)
        snprintf(text, PERCENT_TEXT, "%.2f %%", 100.0 * ratio);
    else
        snprintf(text, PERCENT_TEXT, "-");
    return text;
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

static void print_classes_summary(const struct ls_eval_report *report, FILE *out)
{
    const struct ls_metrics *m = report->metrics;
    const int64_t n = report->result->n_samples, n_correct = report->result->n_correct;
    char text[PERCENT_TEXT], label[24];
    fprintf(out, "accuracy  %s (%lld correct)\n", percent(share(n_correct, n), 1, text),
            (long long)n_correct);
    if (m->top_k > 0) {
        snprintf(label, sizeof label, "top-%d", m->top_k);
        fprintf(out, "%-8s  %s (%lld correct)\n", label, percent(share(m->n_in_top[0], n), 1, text),
                (long long)m->n_in_top[0]);
    }
    const struct ls_class_scores macro = ls_metrics_macro(m);
    char recall[PERCENT_TEXT], f1[PERCENT_TEXT];
    fprintf(out, "macro     precision %s, recall %s, F1 %s\n", percent(macro.precision, 1, text),
            percent(macro.recall, 1, recall), percent(macro.f1, 1, f1));
}

static void print_numbers_summary(const struct ls_eval_report *report, FILE *out)
{
    const struct ls_number_scores all = ls_metrics_of_outputs(report->metrics);
    char rmse[LS_FLOAT_TEXT], mae[LS_FLOAT_TEXT], r2[LS_FLOAT_TEXT];
    const char *of = report->metrics->n_outputs > 1 ? " (mean over the outputs)" : "";
    fprintf(out, "RMSE      %s%s\nMAE       %s%s\nR2        %s%s\n", ls_text_of_float(all.rmse, rmse), of,
            ls_text_of_float(all.mae, mae), of, ls_text_of_float(all.r2, r2), of);
}

static int digits_of(int64_t number)
{
    int digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

/* Zeros as dots: what is confused stands out. */
static void print_matrix(const struct ls_metrics *m, FILE *out)
{
    const int32_t C = m->n_classes;
    int64_t most = 0;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)C * C; i++)
        most = m->confusion[i] > most ? m->confusion[i] : most;
    const int name = digits_of(C - 1) > 5 ? digits_of(C - 1) : 5;
    const int cell = (digits_of(most) > digits_of(C - 1) ? digits_of(most) : digits_of(C - 1)) + 2;
    fprintf(out, "\nconfusion: a row a class, a column a prediction\n%*s", name, "");
    for (int32_t c = 0; c < C; c++)
        fprintf(out, "%*d", cell, c);
    fprintf(out, "\n");
    for (int32_t label = 0; label < C; label++) {
        fprintf(out, "%*d", name, label);
        for (int32_t c = 0; c < C; c++) {
            const int64_t count = m->confusion[(ptrdiff_t)label * C + c];
            if (count > 0)
                fprintf(out, "%*lld", cell, (long long)count);
            else
                fprintf(out, "%*s", cell, ".");
        }
        fprintf(out, "\n");
    }
}

/* Whether entry `a` comes before `b`: the larger, of equal ones the first. */
static int before(const struct ls_metrics *m, ptrdiff_t a, ptrdiff_t b)
{
    return m->confusion[a] > m->confusion[b] || (m->confusion[a] == m->confusion[b] && a < b);
}

/* The largest entry off the diagonal that comes behind `last` (-1: the very largest), or -1. */
static ptrdiff_t next_confusion(const struct ls_metrics *m, ptrdiff_t last)
{
    const ptrdiff_t C = m->n_classes;
    ptrdiff_t best = -1;
    for (ptrdiff_t i = 0; i < C * C; i++)
        if (i / C != i % C && m->confusion[i] > 0 && (last < 0 || before(m, last, i)) &&
            (best < 0 || before(m, i, best)))
            best = i;
    return best;
}

static void print_most_confused(const struct ls_metrics *m, FILE *out)
{
    const ptrdiff_t C = m->n_classes;
    fprintf(out,
            "\nmost confused (--json has the whole matrix)\nclass  taken for    samples  of the class\n");
    ptrdiff_t at = -1;
    for (int i = 0; i < LISTED_CONFUSIONS && (at = next_confusion(m, at)) >= 0; i++) {
        char text[PERCENT_TEXT];
        fprintf(out, "%5td  %9td %10lld %13s\n", at / C, at % C, (long long)m->confusion[at],
                percent(share(m->confusion[at], m->n_support[at / C]), 1, text));
    }
}

static void print_class_table(const struct ls_eval_report *report, FILE *out)
{
    const struct ls_metrics *m = report->metrics;
    int n_undefined = 0;
    fprintf(out, "\nclass  precision     recall         F1    support%s\n", report->names->n ? "  name" : "");
    for (int32_t c = 0; c < m->n_classes; c++) {
        const struct ls_class_scores s = ls_metrics_of_class(m, c);
        char precision[PERCENT_TEXT], recall[PERCENT_TEXT], f1[PERCENT_TEXT];
        fprintf(out, "%5d %10s %10s %10s %10lld%s%s\n", c,
                percent(s.precision, s.precision_defined, precision),
                percent(s.recall, s.recall_defined, recall), percent(s.f1, s.f1_defined, f1),
                (long long)m->n_support[c], c < report->names->n ? "  " : "",
                c < report->names->n ? report->names->name[c] : "");
        n_undefined += !s.precision_defined || !s.recall_defined;
    }
    if (n_undefined)
        fprintf(out, "\n-: never predicted (precision) or without samples (recall). Macro averages take\n"
                     "it as 0, and leave out a class that is neither predicted nor has samples.\n");
}

void ls_eval_print(const struct ls_eval_report *report, FILE *out)
{
    const struct ls_metrics *m = report->metrics;
    char loss[LS_FLOAT_TEXT];
    fprintf(out, "samples   %lld of %s", (long long)report->result->n_samples, report->samples);
    if (report->part)
        fprintf(out, ", the %s part of --split %s", report->part, report->split);
    if (report->is_other)
        fprintf(out, ", uncut: not the data, by hash, that the model's --split was of");
    fprintf(out, "\nloss      %s\n", ls_text_of_float(report->result->loss, loss));
    if (m->n_classes > 0)
        print_classes_summary(report, out);
    if (m->n_outputs > 0)
        print_numbers_summary(report, out);
    if (!report->confusion)
        return;
    if (m->n_classes <= MATRIX_CLASSES)
        print_matrix(m, out);
    else if (m->confusion)
        print_most_confused(m, out);
    print_class_table(report, out);
}
