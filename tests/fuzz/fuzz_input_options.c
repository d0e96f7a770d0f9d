/* --normalise and --augment, a line each, for images of 2x4x4: what is read is written so that it reads back
 * the same. */
#include <string.h>

#include "cli/input_options.h"
#include "data/readers.h"
#include "fuzz.h"

static const uint8_t pixels[3 * 32] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233};
static const int32_t labels[3] = {0, 1, 2};

static void make_data(struct ls_data *data)
{
    *data = (struct ls_data){
        .train = {
            .n_samples = 3, .pixels = pixels, .pixel_divisor = 255.0f, .labels = labels, .n_classes = 3}};
    ls_dataset_set_shape(&data->train, 3, (ptrdiff_t[]){2, 4, 4});
}

FUZZ_TARGET(input_options)
{
    struct ls_data data, again;
    struct ls_augment augment, augment_again;
    struct ls_error err = {.code = LS_OK};
    char *first = fuzz_text(bytes, n), *second = strchr(first, '\n');
    char normalise[LS_INPUT_TEXT], moves[LS_INPUT_TEXT], written[LS_INPUT_TEXT];
    if (second)
        *second++ = '\0';
    make_data(&data);
    make_data(&again);
    const struct ls_input_options given = {.normalise = first, .augment = second, .scale = -1};
    const enum ls_code code = ls_input_prepare(&given, NULL, &data, &augment, &err);
    fuzz_require_message(code, &err);
    if (code != LS_OK)
        return;
    ls_normalise_text(&data.train.normalise, normalise);
    ls_augment_text(&augment, moves);
    const struct ls_input_options stored = {.normalise = normalise, .augment = moves, .scale = -1};
    fuzz_require(ls_input_prepare(&stored, NULL, &again, &augment_again, &err) == LS_OK,
                 "what is written cannot be read back");
    fuzz_require(strcmp(normalise, ls_normalise_text(&again.train.normalise, written)) == 0, "other numbers");
    fuzz_require(strcmp(moves, ls_augment_text(&augment_again, written)) == 0, "other moves");
}
