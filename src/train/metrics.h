/* What an evaluation measures besides the loss: counts over classes, error sums over outputs that are
 * numbers.
 *
 * Exact over the data, whatever the ranks.  Counts are integers, added over ranks as integers; sums are folds
 * within leaves and the tree over them (contract rule 3), as the loss is.  Ratios of counts are taken in
 * binary64 from the finished counts, roots and ratios of sums in binary32 from the finished sums: one IEEE
 * operation after another, alike on every rank.  Conventions are those of scikit-learn. */
#ifndef LS_TRAIN_METRICS_H
#define LS_TRAIN_METRICS_H

#include "train/loss_rule.h"

enum { LS_CONFUSION_CLASSES = 1000 }; /* the most classes a matrix is kept for: 8 MB */

struct ls_metrics {
    int64_t n_samples;

    /* Of classes: the net's outputs, or 2 for one output; 0 when the targets are no classes. */
    int32_t n_classes, top_k; /* top_k 0: not counted */
    int64_t *n_support;       /* (classes) samples of the class */
    int64_t *n_predicted;     /* (classes) samples that the net takes for it */
    int64_t *n_right;         /* (classes) both */
    int64_t *n_in_top;        /* (1) samples whose label is among the top_k outputs */
    int64_t *confusion;       /* (classes, classes), row: label, column: prediction; NULL: too many classes */
    int64_t *counts;          /* all of the above in one block */
    int n_counts;

    /* Of outputs that are numbers; 0 when they are none. */
    ptrdiff_t n_outputs;
    float *squared;  /* (outputs) sum of (z - t)^2 */
    float *absolute; /* (outputs) sum of |z - t| */
    float *mean;     /* (outputs) of the targets */
    float *spread;   /* (outputs) sum of (t - mean)^2 */
};

/* Whether outputs of this net stand for classes of this data: N outputs for as many classes, or one for two.
 */
int ls_predicts_classes(ptrdiff_t N, const struct ls_dataset *data);

/* Whether the loss compares outputs with values as numbers of one kind: squared, half-squared, Huber's. */
int ls_compares_numbers(const struct ls_loss_rule *rule, const struct ls_dataset *data);

/* Takes memory for what is measured with such a loss, data and number of outputs.  Local.  Release with
 * ls_metrics_release, also after failure. */
enum ls_code ls_metrics_create(struct ls_metrics *metrics, const struct ls_loss_rule *rule, ptrdiff_t N,
                               const struct ls_dataset *data, int32_t top_k, struct ls_error *err);
void ls_metrics_release(struct ls_metrics *metrics);

/* The class a row of N outputs stands for: the first largest; with one output, 1 when it is above the loss's
 * threshold (0 for a logit or a margin, 1/2 for a distance). */
int32_t ls_predicted_class(enum ls_loss loss, ptrdiff_t N, const float *z);

/* Whether fewer than k outputs come before the label's: the larger ones, and equal ones of a lower index.  A
 * NaN at the label is never among the top. */
int ls_in_top_k(int32_t k, ptrdiff_t N, const float *z, int32_t label);

/* Counts B more samples, z (B,N), labels (B). */
void ls_metrics_count(struct ls_metrics *metrics, enum ls_loss loss, ptrdiff_t B, ptrdiff_t N, const float *z,
                      const int32_t *labels);

/* Sums over B rows (B,N) in leaves of m, each a tree over leaves of fold(+0; b in leaf: v[b], 1):
 * errors: to[0..N) of v = (z - t)^2; with `all` also to[N..2N) of |z - t| and to[2N..3N) of t.
 * spread: to[0..N) of (t - mean)^2.   column (B) is scratch. */
void ls_sum_errors(const struct ls_ops *ops, ptrdiff_t B, ptrdiff_t m, ptrdiff_t N, const float *z,
                   const float *t, int all, float *column, float *to);
void ls_sum_spread(const struct ls_ops *ops, ptrdiff_t B, ptrdiff_t m, ptrdiff_t N, const float *t,
                   const float *mean, float *column, float *to);

/* The mean over outputs of sqrt(squared / n_samples). */
float ls_root_mean_square(ptrdiff_t N, const float *squared, int64_t n_samples);

/* A ratio whose denominator is 0 is 0 and not defined. */
struct ls_class_scores {
    double precision, recall, f1; /* right / predicted, right / support, 2 right / (predicted + support) */
    int precision_defined, recall_defined, f1_defined;
};
struct ls_class_scores ls_metrics_of_class(const struct ls_metrics *metrics, int32_t c);

/* Macro averages: plain means over the classes that are a label or a prediction of some sample. */
struct ls_class_scores ls_metrics_macro(const struct ls_metrics *metrics);

/* r2 = 1 - squared / spread; when all targets are equal 1 without any error, else 0; NaN of one sample. */
struct ls_number_scores {
    float rmse, mae, r2;
};
struct ls_number_scores ls_metrics_of_output(const struct ls_metrics *metrics, ptrdiff_t j);

/* Plain means over the outputs. */
struct ls_number_scores ls_metrics_of_outputs(const struct ls_metrics *metrics);

#endif
