/* Splits: which samples train, which choose the model, which judge it; and the folds of cross-validation.
 *
 * Samples take places in a permutation keyed by (split seed): the first share of the places is the first
 * part, and so on.  Stratified, each class is cut so by itself: the samples of a class, in the order of their
 * places, go to the parts by the shares.  A number of samples is shared out by largest remainder, so that
 * every part gets its share rounded up or down; of equal remainders the first part's comes first.  Fold k of
 * K has the samples whose place (within their class, when stratified) is k modulo K.
 *
 * Within a part samples keep the data's order.  That costs 8 bytes a sample, where positions of the
 * permutation itself would cost none; but then every read of a part would be random, in evaluation, too, and
 * --shuffle blocks would mean nothing. */
#ifndef LS_DATA_SPLIT_H
#define LS_DATA_SPLIT_H

#include "data/dataset.h"

enum { LS_SPLIT_PARTS = 3 };

struct ls_split {
    int n_parts; /* 0: not split; 2: training and test; 3: training, validation, test */
    double share[LS_SPLIT_PARTS];
    int are_counts; /* shares are numbers of samples */
    int stratify;
    uint64_t seed;
    char text[120]; /* as the user gave the shares */
};

/* Reads "0.8,0.1,0.1": two or three shares above 0 whose sum is 1, or whole numbers of samples.  Local. */
enum ls_code ls_split_parse(struct ls_split *split, const char *text, struct ls_error *err);

/* Cuts the training samples into the parts.  Data that carry test samples keep them: then two shares are of
 * training and validation, and three are refused.  LS_USAGE when a part would be empty, counts do not add up
 * to the samples, or samples have no classes to stratify by.  Local.  At most once. */
enum ls_code ls_data_split(struct ls_data *data, const struct ls_split *split, struct ls_error *err);

/* Makes fold k of n_folds the test samples, and the rest the training samples; other test samples are set
 * aside.  May follow for another k.  Local. */
enum ls_code ls_data_fold(struct ls_data *data, int64_t n_folds, int64_t k, int stratify, uint64_t seed,
                          struct ls_error *err);

#endif
