/* Augmentation: the same sample looks a little different each epoch of training; evaluation sees it as it is.
 *
 * How a sample is moved is a function of the seed, the epoch and the sample's index (contract rule 6), never
 * of its place in a batch, the rank or the thread.  A random crop of the original size out of the image with
 * `crop` pixels of zeros around it is a shift by up to `crop`; with both, the offsets add.  Crop, then flip,
 * and zeros before normalisation: as torchvision's RandomCrop, RandomHorizontalFlip, ToTensor, Normalize. */
#ifndef LS_DATA_AUGMENT_H
#define LS_DATA_AUGMENT_H

#include <stdint.h>

#include "base/status.h"
#include "compute/ops.h"

struct ls_dataset;

enum { LS_MOST_MOVE = 16383 }; /* pixels of shift or crop: both together are drawn from one word of 32 bits */

/* All zero: none. */
struct ls_augment {
    int64_t shift; /* pixels, each way: dy and dx are each uniform in [-shift, shift] */
    int64_t crop;  /* pixels of zeros around the image that is cropped back to its size */
    int flip;      /* left and right change places in every second sample */
    uint64_t seed; /* of the run */
    uint64_t epoch;
};

static inline int ls_augment_is_on(const struct ls_augment *augment)
{
    return augment->shift > 0 || augment->crop > 0 || augment->flip;
}

/* How this epoch moves sample `index`; `context` is a struct ls_augment (a function of struct ls_image_view).
 */
struct ls_move ls_augment_move(const void *context, int64_t index);

/* Whether the dataset's samples can be moved so: images, and no smaller than the moves.  Local. */
enum ls_code ls_augment_check(const struct ls_augment *augment, const struct ls_dataset *dataset,
                              struct ls_error *err);

#endif
