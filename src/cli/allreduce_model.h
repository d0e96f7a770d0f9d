/* What an allreduce should take, from what it took: the alpha-beta model.
 *
 *   T = a l(r) + b s [r > 1]  +  c l(h) + d s 2 (h - 1) / h
 *
 * for s bytes over h hosts with r ranks each, l(n) = ceil(log2(n)): on a host a delay for each level of
 * ranks, and a pass over the vectors in shared memory; between hosts a delay for each level, and what halving
 * and doubling send (Thakur, Rabenseifner and Gropp 2005).  The four coefficients are those >= 0 with the
 * least sum of squares of relative errors, so that short vectors count as much as long ones. */
#ifndef LS_CLI_ALLREDUCE_MODEL_H
#define LS_CLI_ALLREDUCE_MODEL_H

struct ls_allreduce_sample {
    int ranks, hosts;
    double bytes, seconds; /* both > 0 */
};

enum { LS_ALLREDUCE_TERMS = 4 };

struct ls_allreduce_model {
    double coefficient[LS_ALLREDUCE_TERMS]; /* a, b, c, d: seconds, and seconds a byte */
    double typical_error, largest_error;    /* relative: root of the mean square, and the largest */
    int n;                                  /* samples that it was fitted to; 0: it says 0 */
};

/* Local. */
struct ls_allreduce_model ls_allreduce_fit(const struct ls_allreduce_sample *samples, int n);
double ls_allreduce_predict(const struct ls_allreduce_model *model, int ranks, int hosts, double bytes);

#endif
