/* The runs of the contract's matrix: what is trained, each for what stands in its name. */
#ifndef LS_TESTS_MATRIX_RUNS_H
#define LS_TESTS_MATRIX_RUNS_H

#include "train/trainer.h"

struct matrix_run {
    const char *name, *data, *test_data, *net, *init;
    int normalise;                 /* as the training data says */
    int as_numbers;                /* the training data's samples, as binary32 in memory */
    struct ls_train_config config; /* batch 0: all; steps 0: no limit */
    int only_ranks;                /* too slow for all: on this many; 0: on any */
    int only_bits;                 /* deep: not in matrix-tolerance, nor where all must differ */
};

/* All are small: every one is trained 9 times with 3 ISAs. */
extern const struct matrix_run matrix_runs[];
extern const int n_matrix_runs;

#endif
