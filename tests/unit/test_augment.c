/* Moved and normalised images: the oracle against a padded copy, every ISA and thread count against the
 * oracle; what random bits mean for a sample; and what training data says of itself, against whole-number
 * arithmetic. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/dataset.h"
#include "implementations.h"

enum { LIMIT_S = 60 };

static void expect_view(const char *what, const struct ls_ops *ops, int threads,
                        const struct ls_image_view *view, ptrdiff_t n, const float *found,
                        const float *expected)
{
    char message[300];
    cr_assert(compare_floats(COMPARE_BITS_OR_NAN, what, (size_t)n, found, expected, message, sizeof message),
              "%s, %d threads, %tdx%tdx%td, moved %d, normalised %d: %s", ops->name, threads, view->C,
              view->H, view->W, view->move != NULL, view->mean != NULL, message);
}

/* --- the operations --- */

/* A table of moves by index. */
static struct ls_move listed(const void *context, int64_t index)
{
    return ((const struct ls_move *)context)[index];
}

enum { SAMPLES = 11 };

/* Some of nothing, some by a little, some so far that little or nothing is left. */
static void draw_moves(struct ls_move moves[SAMPLES], ptrdiff_t H, ptrdiff_t W)
{
    for (int i = 0; i < SAMPLES; i++) {
        const int32_t h = (int32_t)H + 1, w = (int32_t)W + 1;
        moves[i] = (struct ls_move){.dy = (int32_t)(random_bits() % (uint32_t)(2 * h + 1)) - h,
                                    .dx = (int32_t)(random_bits() % (uint32_t)(2 * w + 1)) - w,
                                    .flip = random_bits() % 2 != 0};
        if (i < 4)
            moves[i] = (struct ls_move){.flip = i & 1, .dx = i & 2 ? moves[i].dx : 0};
        if (i >= 8) {
            moves[i].dy %= 3;
            moves[i].dx %= 3;
        }
    }
    moves[7] = (struct ls_move){INT32_MIN, INT32_MAX, 1};
}

/* One plane by way of a padded copy, as a picture: pad with zeros, cut the window out, mirror it. */
static void naive_plane(ptrdiff_t H, ptrdiff_t W, float *to, const float *from, struct ls_move move)
{
    const ptrdiff_t top = llabs(move.dy) > H ? H : (ptrdiff_t)llabs(move.dy),
                    side = llabs(move.dx) > W ? W : (ptrdiff_t)llabs(move.dx);
    const ptrdiff_t wide = W + 2 * side, high = H + 2 * top;
    float *padded = calloc((size_t)(wide * high), sizeof *padded);
    cr_assert(padded);
    for (ptrdiff_t i = 0; i < H; i++)
        memcpy(padded + (i + top) * wide + side, from + i * W, (size_t)W * sizeof *from);
    const ptrdiff_t y = move.dy < 0 ? 0 : 2 * top, x = move.dx < 0 ? 0 : 2 * side;
    for (ptrdiff_t i = 0; i < H; i++) {
        memcpy(to + i * W, padded + (i + y) * wide + x, (size_t)W * sizeof *to);
        for (ptrdiff_t j = 0; move.flip && j < W / 2; j++) {
            const float left = to[i * W + j];
            to[i * W + j] = to[i * W + W - 1 - j];
            to[i * W + W - 1 - j] = left;
        }
    }
    free(padded);
}

/* What both operations must give for samples (SAMPLES, C, H, W). */
static void naive_view(const struct ls_image_view *view, ptrdiff_t B, float *x, const float *samples,
                       const int64_t *index)
{
    const ptrdiff_t n = view->H * view->W;
    for (ptrdiff_t b = 0; b < B; b++)
        for (ptrdiff_t c = 0; c < view->C; c++) {
            float *to = x + (b * view->C + c) * n;
            const float *from = samples + (index[b] * view->C + c) * n;
            if (view->move)
                naive_plane(view->H, view->W, to, from, view->move(view->context, index[b]));
            else
                memcpy(to, from, (size_t)n * sizeof *to);
            for (ptrdiff_t k = 0; view->mean && k < n; k++) {
                const float less = to[k] - view->mean[c];
                to[k] = less * view->inverse[c];
            }
        }
}

/* Bytes into x by gather_images, or the samples' rows in place by view_images. */
static void run_view(const struct ls_ops *ops, const struct ls_image_view *view, ptrdiff_t B, float *x,
                     const uint8_t *pixels, const float *samples, const int64_t *index, float divisor)
{
    const ptrdiff_t K = view->C * view->H * view->W;
    if (pixels) {
        ops->gather_images(view, B, x, pixels, index, divisor);
        return;
    }
    for (ptrdiff_t b = 0; b < B; b++)
        memcpy(x + b * K, samples + index[b] * K, (size_t)K * sizeof *x);
    ops->view_images(view, B, x, index);
}

static void check_view(const struct ls_image_view *view, ptrdiff_t B, int bytes)
{
    static const float divisors[] = {255, 16, 1, 7},
                       specials[] = {-0.0f, INFINITY, -INFINITY, NAN, 0x1p-149f};
    const ptrdiff_t K = view->C * view->H * view->W;
    const float divisor = divisors[random_bits() % COUNT(divisors)];
    uint8_t *pixels = exactly((size_t)(SAMPLES * K));
    float *samples = exactly((size_t)(SAMPLES * K) * sizeof *samples);
    for (ptrdiff_t i = 0; i < SAMPLES * K; i++) {
        pixels[i] = (uint8_t)random_bits();
        samples[i] = bytes ? (float)pixels[i] / divisor : (float)(random_bits() % 1000) / 999.0f;
        if (!bytes && random_bits() % 16 == 0)
            samples[i] = specials[random_bits() % COUNT(specials)];
    }
    int64_t *index = exactly((size_t)B * sizeof *index);
    for (ptrdiff_t b = 0; b < B; b++)
        index[b] = (int64_t)(random_bits() % SAMPLES);
    float *expected = unset(B * K), *found = unset(B * K);
    const char *what = bytes ? "gather_images" : "view_images";
    naive_view(view, B, expected, samples, index);
    run_view(&ls_ops_serial, view, B, found, bytes ? pixels : NULL, samples, index, divisor);
    expect_view(what, &ls_ops_serial, 1, view, B * K, found, expected);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        for (ptrdiff_t i = 0; i < B * K; i++)
            found[i] = NAN;
        run_view(ops, view, B, found, bytes ? pixels : NULL, samples, index, divisor);
        expect_view(what, ops, threads, view, B * K, found, expected);
    }
    free(pixels);
    free(samples);
    free(index);
    free(expected);
    free(found);
}

static void check_shape(ptrdiff_t C, ptrdiff_t H, ptrdiff_t W, ptrdiff_t B)
{
    static const float mean[] = {0.25f, -0.0f, 0.7f}, inverse[] = {3.5f, 1.0f, 0.1f};
    struct ls_move moves[SAMPLES];
    draw_moves(moves, H, W);
    for (int kind = 0; kind < 8; kind++) {
        const int normal = kind & 1, moved = kind & 2;
        const struct ls_image_view view = {.C = C,
                                           .H = H,
                                           .W = W,
                                           .mean = normal ? mean : NULL,
                                           .inverse = normal ? inverse : NULL,
                                           .move = moved ? listed : NULL,
                                           .context = moves};
        check_view(&view, B, kind & 4);
    }
}

Test(augment, operations_of_awkward_shapes, .timeout = LIMIT_S)
{
    static const ptrdiff_t sides[] = {1, 2, 7, 8, 9, 15, 16, 17, 28, 31, 33};
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t j = 0; j < COUNT(sides); j++)
            check_shape(1 + (ptrdiff_t)(i + j) % 3, sides[i], sides[j], 5 + (ptrdiff_t)(i * j) % 29);
    check_shape(3, 32, 32, 40);
    check_shape(1, 28, 28, 0);
}

/* Rows of more than, of just, and of half of what is moved at a time: 16 KiB. */
Test(augment, operations_of_long_rows, .timeout = LIMIT_S)
{
    static const ptrdiff_t widths[] = {8191, 8192, 8193, 16383, 16384, 16385, 40000};
    for (size_t i = 0; i < COUNT(widths); i++)
        check_shape(1, 3, widths[i], 4);
    check_shape(2, 8193, 2, 4);
    check_shape(2, 150, 150, 4);
}

/* --- what is drawn --- */

Test(augment, moves_depend_on_seed_epoch_and_sample)
{
    struct ls_augment one = {.shift = 3, .crop = 2, .flip = 1, .seed = 5, .epoch = 4}, other = one;
    int same[3] = {0};
    for (int64_t i = 0; i < 1000; i++) {
        const struct ls_move move = ls_augment_move(&one, i);
        for (int k = 0; k < 3; k++) {
            other = one;
            other.seed += k == 1;
            other.epoch += k == 2;
            const struct ls_move again = ls_augment_move(&other, k == 0 ? i + 1 : i);
            same[k] += move.dy == again.dy && move.dx == again.dx && move.flip == again.flip;
        }
    }
    /* Two of them are alike by chance in (sum of squared probabilities)^2 / 2 = 1 of 116. */
    for (int k = 0; k < 3; k++)
        cr_assert(same[k] < 30, "%d: %d of 1000 moves are alike", k, same[k]);
}

/* Pinned, from Python and the text of augment.c: other bits would be another training. */
Test(augment, moves_are_these)
{
    const struct ls_augment augment = {.shift = 2, .crop = 4, .flip = 1, .seed = 1, .epoch = 0};
    int32_t sum = 0;
    for (int64_t i = 0; i < 100; i++) {
        const struct ls_move move = ls_augment_move(&augment, i);
        sum = sum * 31 % 1000003 + move.dy * 7 + move.dx * 3 + move.flip;
    }
    cr_assert_eq(sum, -621141, "%d", sum);
}

/* Each count of n draws within 5 deviations of what its probability says. */
static void expect_count(const char *what, int value, int count, int n, double probability)
{
    const double expected = n * probability, deviation = sqrt(expected * (1 - probability));
    cr_assert(fabs(count - expected) <= 5 * deviation, "%s %d: %d of %d, expected %.0f", what, value, count,
              n, expected);
}

static void check_distribution(int shift, int crop, int flip)
{
    enum { N = 200000, MOST = 8 };
    const struct ls_augment augment = {.shift = shift, .crop = crop, .flip = flip, .seed = 3, .epoch = 2};
    int dy[2 * MOST + 1] = {0}, dx[2 * MOST + 1] = {0}, flips = 0, both = 0;
    for (int64_t i = 0; i < N; i++) {
        const struct ls_move move = ls_augment_move(&augment, i);
        cr_assert(abs(move.dy) <= shift + crop && abs(move.dx) <= shift + crop);
        dy[move.dy + MOST]++;
        dx[move.dx + MOST]++;
        flips += move.flip;
        both += move.dy == 0 && move.dx == 0;
    }
    const double pairs = (2 * shift + 1) * (2 * crop + 1);
    for (int v = -shift - crop; v <= shift + crop; v++) {
        int ways = 0; /* to be a sum of one from [-shift, shift] and one from [-crop, crop] */
        for (int s = -shift; s <= shift; s++)
            ways += abs(v - s) <= crop;
        expect_count("dy", v, dy[v + MOST], N, ways / pairs);
        expect_count("dx", v, dx[v + MOST], N, ways / pairs);
    }
    const int least = 2 * (shift < crop ? shift : crop) + 1; /* ways to be 0 */
    expect_count("neither", 0, both, N, least / pairs * (least / pairs));
    cr_assert(flip || flips == 0);
    if (flip)
        expect_count("flip", 1, flips, N, 0.5);
}

Test(augment, every_shift_is_about_as_frequent)
{
    check_distribution(2, 0, 0);
    check_distribution(5, 0, 1);
    check_distribution(0, 4, 1);
    check_distribution(2, 4, 1);
    check_distribution(0, 0, 1);
}

/* --- data sets --- */

static struct ls_data open_data(const char *spec)
{
    struct ls_data data;
    struct ls_error err = {.text = ""};
    cr_assert(ls_data_open(&data, spec, NULL, &err) == LS_OK, "%s", err.text);
    return data;
}

/* A sample looks the same wherever it stands and whatever stands beside it. */
static void check_positions(const char *spec)
{
    enum { N = 50 };
    struct ls_data data = open_data(spec);
    struct ls_error err = {.text = ""};
    const struct ls_augment augment = {.shift = 1, .crop = 1, .flip = 1, .seed = 9, .epoch = 3};
    cr_assert(ls_normalise_measure(&data.train.normalise, &data.train, &err) == LS_OK, "%s", err.text);
    const ptrdiff_t K = data.train.n_features;
    int64_t index[N], one;
    for (int i = 0; i < N; i++)
        index[i] = (i * 7 + 3) % N;
    float *all = unset(N * K), *alone = unset(K), *plain = unset(K);
    int moved = 0;
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        ls_dataset_gather_augmented(&data.train, &augment, ops, N, index, all, NULL, NULL);
        for (int i = 0; i < N; i++) {
            one = index[i];
            ls_dataset_gather_augmented(&data.train, &augment, &ls_ops_serial, 1, &one, alone, NULL, NULL);
            cr_assert(memcmp(all + i * K, alone, (size_t)K * sizeof *alone) == 0, "%s: sample %d", spec, i);
            ls_dataset_gather(&data.train, ops, 1, &one, plain, NULL, NULL);
            moved += memcmp(plain, alone, (size_t)K * sizeof *alone) != 0;
        }
    }
    cr_assert(moved > N / 2, "%s: only %d were moved", spec, moved);
    free(all);
    free(alone);
    free(plain);
    ls_data_release(&data);
    cr_assert_eq(ls_memory_balance(), 0);
}

Test(augment, a_sample_looks_the_same_at_any_place)
{
    check_positions("digits");
    check_positions("synthetic:n=60,shape=3x9x17,classes=3");
}

/* From Python: whole numbers, and a square root of 60 digits, rounded to binary32. */
Test(augment, bytes_are_measured_exactly)
{
    enum { N = 37, C = 3, P = 5 * 7 };
    static const float mean[C] = {0x1.f0c1e8p-2f, 0x1.ecefe8p-2f, 0x1.010aeep-1f},
                       deviation[C] = {0x1.21aa12p-2f, 0x1.2078aap-2f, 0x1.1f9db6p-2f};
    struct ls_error err = {.text = ""};
    struct ls_normalise found;
    struct ls_data data = open_data("digits");
    cr_assert(ls_normalise_measure(&found, &data.train, &err) == LS_OK, "%s", err.text);
    cr_assert(found.n_channels == 1 && found.mean[0] == 0x1.386e14p-2f &&
                  found.deviation[0] == 0x1.800764p-2f,
              "%a %a", (double)found.mean[0], (double)found.deviation[0]);
    ls_data_release(&data);

    uint8_t pixels[N * C * P];
    for (int i = 0; i < N * C * P; i++)
        pixels[i] = (uint8_t)((i * i * 7 + i / 11) % 251);
    const struct ls_dataset dataset = {.n_samples = N,
                                       .n_dims = 3,
                                       .dims = {C, 5, 7},
                                       .n_features = C * P,
                                       .pixels = pixels,
                                       .pixel_divisor = 255};
    cr_assert(ls_normalise_measure(&found, &dataset, &err) == LS_OK, "%s", err.text);
    cr_assert_eq(found.n_channels, C);
    for (int c = 0; c < C; c++) {
        cr_assert(found.mean[c] == mean[c], "mean of %d: %a", c, (double)found.mean[c]);
        cr_assert(found.deviation[c] == deviation[c], "deviation of %d: %a", c, (double)found.deviation[c]);
        cr_assert(found.inverse[c] == 1.0f / found.deviation[c]);
    }
}

/* Rule 3 with leaves of 32 samples, by levels. */
static float tree(int n, float *v)
{
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; 2 * i < n; i++)
            v[i] = 2 * i + 1 < n ? v[2 * i] + v[2 * i + 1] : v[2 * i];
    return v[0];
}

/* Rule 4 of fewer than 4096. */
static float sum_lanes(int n, const float *v)
{
    float lane[16] = {0};
    for (int i = 0; i < n; i++)
        lane[i % 16] += v[i];
    return tree(16, lane);
}

Test(augment, values_are_measured_by_leaves)
{
    enum { N = 203, C = 2, P = 38, LEAVES = (N + 31) / 32 };
    static float numbers[N * C * P];
    for (int i = 0; i < N * C * P; i++)
        numbers[i] = (float)(random_bits() % 4096) / 2048.0f - 0.7f;
    const struct ls_dataset dataset = {
        .n_samples = N, .n_dims = 3, .dims = {C, 2, 19}, .n_features = C * P, .numbers = numbers};
    struct ls_error err = {.text = ""};
    struct ls_normalise found;
    cr_assert(ls_normalise_measure(&found, &dataset, &err) == LS_OK, "%s", err.text);
    for (int c = 0; c < C; c++) {
        const float r = 1.0f / (N * P);
        float mean = 0;
        for (int pass = 0; pass < 2; pass++) {
            float leaf[LEAVES] = {0}, v[P];
            for (int i = 0; i < N; i++) {
                for (int k = 0; k < P; k++) {
                    const float d = numbers[(i * C + c) * P + k] - mean;
                    v[k] = pass ? d * d : d;
                }
                leaf[i / 32] += sum_lanes(P, v);
            }
            const float sum = tree(LEAVES, leaf) * r;
            if (pass)
                cr_assert(found.deviation[c] == sqrtf(sum), "%a", (double)found.deviation[c]);
            else
                cr_assert(found.mean[c] == sum, "%a", (double)found.mean[c]);
            mean = sum;
        }
    }
}

static void check_standard(const char *spec)
{
    struct ls_data data = open_data(spec);
    struct ls_dataset *train = &data.train;
    struct ls_error err = {.text = ""};
    cr_assert(ls_normalise_measure(&train->normalise, train, &err) == LS_OK, "%s", err.text);
    const struct ls_image_view image = ls_dataset_image(train);
    const ptrdiff_t plane = image.H * image.W;
    float *x = unset(train->n_features);
    double sum[LS_MAX_CHANNELS] = {0}, squares[LS_MAX_CHANNELS] = {0};
    for (int64_t i = 0; i < train->n_samples; i++) {
        ls_dataset_gather(train, ls_ops_parallel(NULL), 1, &i, x, NULL, NULL);
        for (ptrdiff_t k = 0; k < train->n_features; k++) {
            sum[k / plane] += (double)x[k];
            squares[k / plane] += (double)x[k] * (double)x[k];
        }
    }
    const double n = (double)train->n_samples * (double)plane;
    for (ptrdiff_t c = 0; c < image.C; c++)
        cr_assert(fabs(sum[c] / n) < 1e-5 && fabs(squares[c] / n - 1) < 1e-5, "%s: channel %td: %g, %g", spec,
                  c, sum[c] / n, squares[c] / n);
    free(x);
    ls_data_release(&data);
}

Test(augment, normalised_training_data_has_mean_0_and_deviation_1)
{
    check_standard("digits");
    check_standard("synthetic:n=500,shape=3x32x32,classes=10");
    check_standard("synthetic:n=100,shape=16x2x2,classes=3");
    check_standard("synthetic:n=100,shape=5,classes=3");
}

Test(augment, a_constant_channel_stays_finite)
{
    enum { N = 1000, P = 49 };
    static uint8_t pixels[N * P];
    static float numbers[N * P];
    for (int i = 0; i < N * P; i++) {
        pixels[i] = 7;
        numbers[i] = 0.1f; /* its sum is rounded: the mean is another number */
    }
    struct ls_dataset dataset = {
        .n_samples = N, .n_dims = 2, .dims = {7, 7}, .n_features = P, .pixels = pixels, .pixel_divisor = 255};
    struct ls_error err = {.text = ""};
    struct ls_normalise found;
    cr_assert(ls_normalise_measure(&found, &dataset, &err) == LS_OK && found.deviation[0] == 1.0f);
    dataset.pixels = NULL;
    dataset.numbers = numbers;
    cr_assert(ls_normalise_measure(&found, &dataset, &err) == LS_OK && found.deviation[0] == 1.0f);
    cr_assert(found.mean[0] != 0.1f, "the case shows nothing");
    numbers[N * P - 1] = 0.3f;
    cr_assert(ls_normalise_measure(&found, &dataset, &err) == LS_OK && found.deviation[0] < 0.01f);
}

Test(augment, what_cannot_be_is_refused)
{
    struct ls_error err = {.text = ""};
    struct ls_normalise normalise;
    struct ls_data data = open_data("synthetic:n=10,shape=17x2x2,classes=2");
    cr_assert(ls_normalise_measure(&normalise, &data.train, &err) == LS_USAGE);
    cr_assert(strstr(err.text, "17 channels") && strstr(err.text, "1 to 16"), "%s", err.text);
    const struct ls_augment far[] = {{.shift = 2}, {.crop = 2}, {.shift = 1, .crop = 1}};
    for (size_t i = 0; i < COUNT(far); i++) {
        cr_assert(ls_augment_check(&far[i], &data.train, &err) == LS_USAGE);
        cr_assert(strstr(err.text, "=2 moves too far") && strstr(err.text, "2x2 pixels; allowed is 0 to 1"),
                  "%s", err.text);
    }
    cr_assert(ls_augment_check(&(struct ls_augment){.shift = 1, .flip = 1}, &data.train, &err) == LS_OK);
    ls_data_release(&data);
    static const float huge[] = {3e38f, 3e38f};
    const struct ls_dataset dataset = {
        .n_samples = 2, .n_dims = 1, .dims = {1}, .n_features = 1, .numbers = huge};
    cr_assert(ls_normalise_measure(&normalise, &dataset, &err) == LS_FAILED);
    cr_assert(strstr(err.text, "too large"), "%s", err.text);
    cr_assert(ls_augment_check(&(struct ls_augment){.flip = 1}, &dataset, &err) == LS_USAGE);
    cr_assert(strstr(err.text, "has 1 dimension"), "%s", err.text);
    cr_assert(ls_augment_check(&(struct ls_augment){.seed = 1}, &dataset, &err) == LS_OK,
              "none is no question");
}
