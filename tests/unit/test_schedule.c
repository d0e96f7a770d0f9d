/* Schedules: values of torch.optim.lr_scheduler (PyTorch 1.13), frozen; warm-up and the scaling rule by hand;
 * and their text. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/elementary.h"
#include "train/schedule.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ls_error err;

static struct ls_schedule parsed(const char *text, const char *warmup)
{
    struct ls_schedule schedule = {.kind = LS_SCHEDULE_CONSTANT};
    cr_assert(ls_schedule_parse(&schedule, text, &err) == LS_OK, "%s: %s", text, err.text);
    if (warmup)
        cr_assert(ls_span_parse(&schedule.warmup, warmup, &err) == LS_OK, "%s", err.text);
    return schedule;
}

static void close_to(const char *text, int64_t t, float found, double expected)
{
    cr_assert(fabs((double)found - expected) <= 1e-6 * fabs(expected) + 1e-9,
              "%s, update %lld: %.9g, expected %.9g", text, (long long)t, (double)found, expected);
}

/* A rate of 0.1 over `n` updates. */
static void check(const char *text, int64_t per_epoch, int64_t epochs, const double *expected, size_t n)
{
    const struct ls_schedule schedule = parsed(text, NULL);
    const struct ls_learning_rate rate = ls_learning_rate_start(&schedule, 0.1f, per_epoch, epochs, -1);
    for (size_t t = 0; t < n; t++)
        close_to(text, (int64_t)t, ls_learning_rate_at(&rate, (int64_t)t), expected[t]);
}

Test(schedule, values_are_pytorch_s)
{
    static const double steps[] = {0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125};
    check("step every=3u factor=0.5", 4, 10, steps, COUNT(steps));
    check("step every=1.5 factor=0.5", 2, 10, steps, COUNT(steps));
    static const double multistep[] = {0.1,   0.1,   0.01,  0.01,   0.01,   0.001,
                                       0.001, 0.001, 0.001, 0.0001, 0.0001, 0.0001};
    check("multistep at=2,5,9", 1, 12, multistep, COUNT(multistep));
    check("multistep at=2u,5u,9u factor=0.1", 7, 12, multistep, COUNT(multistep));
    static const double exponential[] = {0.1,         0.095,        0.09025,      0.0857375,
                                         0.081450625, 0.0773780937, 0.0735091891, 0.0698337296};
    check("exponential factor=0.95", 1, 8, exponential, COUNT(exponential));
    check("exponential factor=0.95 every=1u", 100, 8, exponential, COUNT(exponential));
    static const double polynomial[] = {0.1,           0.0768433471,  0.0572433402, 0.0409963413,
                                        0.0278854801,  0.0176776695,  0.0101192885, 0.00492950302,
                                        0.00178885438, 0.000316227766};
    check("polynomial power=2.5", 2, 5, polynomial, COUNT(polynomial));
    static const double cosine[] = {0.1,    0.0975772976, 0.0905463412, 0.07959537,   0.0657963412,
                                    0.0505, 0.0352036588, 0.02140463,   0.0104536588, 0.00342270244};
    check("cosine min=0.001", 5, 2, cosine, COUNT(cosine));
    static const double one_cycle[] = {0.004,        0.0131671843, 0.0371671843, 0.0668328157,  0.0908328157,
                                       0.1,          0.0987464006, 0.0950484632, 0.0890916178,  0.0811745654,
                                       0.0716943002, 0.0611262022, 0.0500002,    0.0388741978,  0.0283060998,
                                       0.0188258346, 0.0109087822, 0.0049519368, 0.00125399938, 4e-07};
    check("onecycle", 4, 5, one_cycle, COUNT(one_cycle));
    static const double lines[] = {0.01,         0.0357142857, 0.0614285714, 0.0871428571, 0.0909181818,
                                   0.0727545455, 0.0545909091, 0.0364272727, 0.0182636364, 0.0001};
    check("onecycle peak-at=0.45 start=0.1 end=0.01 anneal=linear", 2, 5, lines, COUNT(lines));
    static const double constant[] = {0.1, 0.1, 0.1};
    check("constant", 1, 3, constant, COUNT(constant));
}

Test(schedule, plateau_is_pytorch_s)
{
    static const float losses[] = {1,    0.9f, 0.9f, 0.9f, 0.9f, 0.8f, 0.8f, 0.8f, 0.79999f,
                                   0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f};
    static const double rates[] = {0.1,   0.1,   0.1,   0.1,   0.02,  0.02,  0.02,  0.02,  0.004,
                                   0.004, 0.004, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001};
    const char *text = "plateau factor=0.2 patience=2 min=0.001";
    const struct ls_schedule schedule = parsed(text, NULL);
    struct ls_learning_rate rate = ls_learning_rate_start(&schedule, 0.1f, 10, 100, -1);
    for (size_t i = 0; i < COUNT(losses); i++) {
        ls_learning_rate_watch(&rate, losses[i]);
        close_to(text, (int64_t)i, ls_learning_rate_at(&rate, (int64_t)i), rates[i]);
    }
    rate = ls_learning_rate_start(&schedule, 0.1f, 10, 100, -1);
    for (int i = 0; i < 3; i++) /* a loss that is no number is no improvement */
        ls_learning_rate_watch(&rate, NAN);
    close_to(text, 0, ls_learning_rate_at(&rate, 0), 0.02);
}

/* Those that end with the run fill what warm-up leaves of it; milestones count from the run's start. */
Test(schedule, warm_up_is_a_line_in_front)
{
    struct ls_schedule schedule = parsed("constant", "0.4");
    struct ls_learning_rate rate = ls_learning_rate_start(&schedule, 0.1f, 10, 2, -1);
    static const double constant[] = {0.025, 0.05, 0.075, 0.1, 0.1, 0.1};
    for (int t = 0; t < 6; t++)
        close_to("constant", t, ls_learning_rate_at(&rate, t), constant[t]);
    schedule = parsed("cosine", "5u");
    rate = ls_learning_rate_start(&schedule, 0.1f, 5, 3, -1);
    static const double cosine[] = {0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.0975528258};
    for (int t = 0; t < 7; t++)
        close_to("cosine", t, ls_learning_rate_at(&rate, t), cosine[t]);
    close_to("cosine", 10, ls_learning_rate_at(&rate, 10), 0.05);
    close_to("cosine", 15, ls_learning_rate_at(&rate, 15), 0);
    schedule = parsed("multistep at=2u,4u", "3u");
    rate = ls_learning_rate_start(&schedule, 0.1f, 5, 3, -1);
    static const double multistep[] = {0.1 / 3, 0.2 / 3, 0.01, 0.01, 0.001};
    for (int t = 0; t < 5; t++)
        close_to("multistep", t, ls_learning_rate_at(&rate, t), multistep[t]);
}

Test(schedule, the_run_s_length_is_the_nearer_limit)
{
    const struct ls_schedule none = {.kind = LS_SCHEDULE_CONSTANT};
    cr_assert(ls_learning_rate_start(&none, 1.0f, 10, 3, -1).total == 30);
    cr_assert(ls_learning_rate_start(&none, 1.0f, 10, 3, 25).total == 30, "steps would change the rates");
    cr_assert(ls_learning_rate_start(&none, 1.0f, 10, INT64_MAX, 25).total == 25);
    cr_assert(ls_learning_rate_start(&none, 1.0f, 10, INT64_MAX, -1).total == INT64_MAX);
    cr_assert(ls_updates_per_epoch(100, 32, 0) == 4 && ls_updates_per_epoch(100, 32, 1) == 3);
    cr_assert(ls_scaled_rate(0.1f, 512, 256) == 0.2f && ls_scaled_rate(0.1f, 64, 256) == 0.025f);
}

/* Extremes stay numbers: runs of one update, warm-up longer than the run, peaks at the ends. */
Test(schedule, nothing_divides_by_zero)
{
    static const char *const texts[] = {"cosine",
                                        "polynomial power=0.5",
                                        "onecycle",
                                        "onecycle peak-at=0",
                                        "onecycle peak-at=1",
                                        "step every=1e-9",
                                        "exponential factor=0",
                                        "multistep at=0,1"};
    for (size_t i = 0; i < COUNT(texts); i++)
        for (int64_t epochs = 0; epochs < 4; epochs++) {
            const struct ls_schedule schedule = parsed(texts[i], epochs == 3 ? "100" : NULL);
            const struct ls_learning_rate rate = ls_learning_rate_start(&schedule, 0.1f, 1, epochs, -1);
            for (int64_t t = 0; t < 6; t++) {
                const float at = ls_learning_rate_at(&rate, t);
                cr_assert(at >= 0.0f && at <= 0.1f, "%s, %lld epochs, update %lld: %g", texts[i],
                          (long long)epochs, (long long)t, (double)at);
            }
        }
}

Test(schedule, text_round_trips)
{
    static const char *const texts[][2] = {
        {"constant", "constant"},
        {"step every=30", "step every=30 factor=0.1"},
        {"step factor=0.5 every=500u", "step every=500u factor=0.5"},
        {"step every=16777216u", "step every=16777216u factor=0.1"},
        {"multistep at=30,60.5,80", "multistep at=30,60.5,80 factor=0.1"},
        {"exponential factor=0.95", "exponential factor=0.95 every=1"},
        {"polynomial", "polynomial power=1 end=0"},
        {"  cosine   min=0.0001 ", "cosine min=0.0001"},
        {"onecycle", "onecycle peak-at=0.3 start=0.04 end=0.0001 anneal=cosine"},
        {"onecycle anneal=linear", "onecycle peak-at=0.3 start=0.04 end=0.0001 anneal=linear"},
        {"plateau patience=5", "plateau factor=0.1 patience=5 threshold=0.0001 min=0"},
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        char text[LS_SCHEDULE_TEXT], again[LS_SCHEDULE_TEXT];
        const struct ls_schedule one = parsed(texts[i][0], NULL);
        cr_assert_str_eq(ls_schedule_format(&one, text), texts[i][1]);
        const struct ls_schedule two = parsed(text, NULL);
        cr_assert_str_eq(ls_schedule_format(&two, again), text);
    }
}

Test(schedule, messages_say_what_and_what_else)
{
    static const char *const cases[][2] = {
        {"", "unknown schedule ''"},
        {"cosin", "unknown schedule 'cosin': did you mean 'cosine'? Allowed: constant, step"},
        {"step evry=3", "step has no 'evry': did you mean 'every'? Allowed: every, factor"},
        {"step", "step needs every=..."},
        {"step every=0", "every: '0' must be more than nothing"},
        {"step every=3x", "every: '3x' is no length: give epochs, such as 5 or 0.5"},
        {"step every=-1", "every: '-1' is no length"},
        {"step every=0.5u", "every: '0.5u' is no length"},
        {"step every=u", "every: 'u' is no length"},
        {"step every=nan", "every: 'nan' is no length"},
        {"step every=3 every=4", "'every' is given twice"},
        {"step every", "'every' is no setting: give name=value; those of step are every, factor"},
        {"constant x=1", "'x=1': constant takes no settings"},
        {"multistep at=30,20", "at: '30,20': lengths must ascend"},
        {"multistep at=30,40u", "at: '30,40u': lengths must ascend, and be all epochs or all updates"},
        {"multistep at=30,", "at: '' is no length"},
        {"multistep at=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "has more than 16 lengths"},
        {"plateau factor=2", "factor: '2' is not allowed: give a number from 0 to 1"},
        {"plateau patience=1.5", "patience: '1.5' is not allowed: give a whole number from 0"},
        {"onecycle anneal=cos", "anneal: unknown 'cos': did you mean 'cosine'? Allowed: cosine, linear"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ls_schedule schedule = {.kind = LS_SCHEDULE_CONSTANT};
        cr_assert(ls_schedule_parse(&schedule, cases[i][0], &err) == LS_USAGE, "'%s' is read", cases[i][0]);
        cr_assert(strstr(err.text, cases[i][1]), "'%s': \"%s\" does not say \"%s\"", cases[i][0], err.text,
                  cases[i][1]);
    }
    char longest[1000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    struct ls_schedule schedule = {.kind = LS_SCHEDULE_CONSTANT};
    cr_assert(ls_schedule_parse(&schedule, longest, &err) == LS_USAGE);
    struct ls_span span;
    cr_assert(ls_span_parse(&span, longest, &err) == LS_USAGE && ls_span_parse(&span, "", &err) == LS_USAGE);
}

/* Every seventh binary32 in [0, 1], against the sine or cosine of an exactly reduced argument in binary64. */
Test(schedule, cospi_is_within_two_ulp, .timeout = 120)
{
    const double pi = 3.14159265358979323846;
    double worst = 0;
    float at = 0;
    for (uint32_t bits = 0; bits <= 0x3f800000u; bits += bits < 0x39000000u ? 104729 : 7) {
        const float x = ls_float(bits), y = ls_cospi(x);
        const double q = (double)x;
        const double exact = q < 0.25 ? cos(pi * q) : q <= 0.75 ? sin(pi * (0.5 - q)) : -cos(pi * (1 - q));
        int exponent;
        frexp(exact, &exponent);
        const double error = fabs((double)y - exact) / ldexp(1, exponent - 24);
        if (exact != 0 && !(error <= worst)) {
            worst = error;
            at = x;
        }
    }
    cr_log_info("cospi: at most %.4f ulp, at %a", worst, (double)at);
    cr_assert(worst <= 2, "cospi(%a) is %.3f ulp off", (double)at, worst);
    cr_assert(ls_cospi(0.0f) == 1.0f && ls_cospi(0.5f) == 0.0f && ls_cospi(1.0f) == -1.0f);
}
