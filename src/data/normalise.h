/* Normalisation: each channel's values less its mean, over its standard deviation.  What a channel is: the
 * first dimension of (C, H, W) samples; anything else is one channel.
 *
 * The numbers are the user's or the training data's own, and then the same on every rank: bytes are summed
 * as whole numbers, without rounding; of other values, each sample's sum is a lanesum (contract rule 4), and
 * sums of samples are added by rule 3 in leaves of 32.  Every rank computes them over all the data, which
 * costs one pass over bytes (47 MB of Fashion-MNIST: 30 ms), two over values; a collective would save little
 * and be one more thing that can fail. */
#ifndef LS_DATA_NORMALISE_H
#define LS_DATA_NORMALISE_H

#include <stddef.h>

#include "base/status.h"

enum { LS_MAX_CHANNELS = 16 };

struct ls_normalise {
    int n_channels; /* 0: values stay as they are */
    float mean[LS_MAX_CHANNELS], deviation[LS_MAX_CHANNELS];
    float inverse[LS_MAX_CHANNELS]; /* 1.0f / deviation */
};

struct ls_dataset;

/* Computes mean and standard deviation (of the whole data, not of a sample of more) of each channel; a
 * channel whose values are all the same gets deviation 1.  Local. */
enum ls_code ls_normalise_measure(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                  struct ls_error *err);

/* Whether it has as many numbers as the dataset has channels, and computes inverse.  Local. */
enum ls_code ls_normalise_check(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                struct ls_error *err);

#endif
