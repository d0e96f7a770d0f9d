/* Owns what random bits mean for a sample: words 0 and 1 say how far down and across, word 2 whether it is
 * flipped. */
#include "data/augment.h"

#include "base/philox.h"
#include "data/dataset.h"

/* The sum of a number uniform in [-shift, shift] and one in [-crop, crop], both of the same 32 bits: a word
 * scaled to the number of pairs.  The most frequent pair is at most 1 + pairs / 2^32 times as likely as the
 * rarest. */
static int32_t offset_of(uint32_t word, const struct ls_augment *augment)
{
    const uint32_t shifts = 2 * (uint32_t)augment->shift + 1, crops = 2 * (uint32_t)augment->crop + 1;
    const uint32_t pair = (uint32_t)((uint64_t)word * (shifts * crops) >> 32);
    return (int32_t)(pair % shifts + pair / shifts) - (int32_t)(augment->shift + augment->crop);
}

struct ls_move ls_augment_move(const void *context, int64_t index)
{
    const struct ls_augment *augment = context;
    const struct ls_bits128 bits =
        ls_random(augment->seed, LS_PURPOSE_AUGMENT, augment->epoch, (uint64_t)index);
    return (struct ls_move){.dy = offset_of(bits.word[0], augment),
                            .dx = offset_of(bits.word[1], augment),
                            .flip = augment->flip && bits.word[2] >> 31};
}

static enum ls_code check_size(const char *what, int64_t pixels, const struct ls_image_view *image,
                               const struct ls_dataset *dataset, struct ls_error *err)
{
    const ptrdiff_t side = image->H < image->W ? image->H : image->W;
    const ptrdiff_t most = side - 1 < LS_MOST_MOVE ? side - 1 : LS_MOST_MOVE;
    if (pixels >= 0 && pixels <= most)
        return LS_OK;
    return ls_fail(
        err, LS_USAGE,
        "augmentation: %s=%lld moves too far: a sample of \"%s\" is %tdx%td pixels; allowed is 0 to "
        "%td",
        what, (long long)pixels, dataset->name, image->H, image->W, most);
}

enum ls_code ls_augment_check(const struct ls_augment *augment, const struct ls_dataset *dataset,
                              struct ls_error *err)
{
    if (!ls_augment_is_on(augment))
        return LS_OK;
    if (dataset->n_dims != 2 && dataset->n_dims != 3)
        return ls_fail(err, LS_USAGE,
                       "augmentation needs images, HxW or CxHxW: a sample of \"%s\" has %d dimension%s",
                       dataset->name, dataset->n_dims, dataset->n_dims == 1 ? "" : "s");
    const struct ls_image_view image = ls_dataset_image(dataset);
    enum ls_code code = check_size("shift", augment->shift, &image, dataset, err);
    if (code == LS_OK)
        code = check_size("crop", augment->crop, &image, dataset, err);
    if (code == LS_OK)
        code = check_size("shift + crop", augment->shift + augment->crop, &image, dataset, err);
    return code;
}
