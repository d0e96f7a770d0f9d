/* Order statistics of repeated measurements. */
#ifndef LS_CLI_BENCH_STATISTICS_H
#define LS_CLI_BENCH_STATISTICS_H

/* The value below which a share q of the n >= 1 values lies, to the nearest rank; sorts them. */
double ls_quantile(double *values, int n, double q);

#endif
