/* lockstep info --net and info nets: what they say, and that the process takes the memory they say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "launch.h"

static struct ls_outcome outcome;

#define LOCKSTEP(...) ls_launch(&outcome, 60, NULL, LS_ARGV(LS_BUILD "/lockstep", __VA_ARGS__))

static void says(const char *words)
{
    cr_expect_not_null(strstr(outcome.out, words), "'%s' is not in\n%s%s", words, outcome.out, outcome.err);
}

Test(info, every_named_net_is_described)
{
    cr_assert_eq(LOCKSTEP("info", "nets"), 0, "%s", outcome.err);
    char list[LS_OUTCOME_TEXT];
    strcpy(list, outcome.out);
    int n = 0;
    char *rest = NULL;
    strtok_r(list, "\n", &rest);
    for (char *line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char name[40] = "";
        if (sscanf(line, "%39s", name) != 1 || strcmp(name, "lockstep") == 0)
            break;
        cr_assert_eq(LOCKSTEP("info", "--net", name), 0, "%s: %s", name, outcome.err);
        says("activations");
        n++;
    }
    cr_assert_eq(n, 8);
}

/* The numbers of He et al. 2016 (0.27 M parameters, 41 M multiply-adds), with projections. */
Test(info, resnet20)
{
    cr_assert_eq(LOCKSTEP("info", "--net", "resnet20"), 0, "%s", outcome.err);
    says("9.shortcut.0  conv 32 1x1 stride 2 nobias     32x16x16               512         262,144       "
         "32.8 kB");
    says("272,474 trained");
    says("81.63 MFLOP a sample");
    says("in place");
    says("9.shortcut.1  batchnorm                       32x16x16                64               -    "
         "in the sum"); /* which the batch norm makes itself: it has no output */
}

Test(info, a_misfit_names_the_layer_what_it_got_and_what_it_needs)
{
    cr_assert_eq(LOCKSTEP("info", "--net", "conv 4 3x3, maxpool 9, dense 10", "--input", "8x8"), 2);
    cr_expect_not_null(
        strstr(outcome.err, "layer 2 ('maxpool 9'): its 9x9 window needs an input of at least 9x9"), "%s",
        outcome.err);
    cr_expect_not_null(strstr(outcome.err, "gets 4x6x6"), "%s", outcome.err);
    cr_assert_eq(LOCKSTEP("info", "--net", "resnet21"), 2);
    cr_expect_not_null(strstr(outcome.err, "did you mean 'resnet20'?"), "%s", outcome.err);
    cr_assert_eq(LOCKSTEP("info", "--net", "mlp", "--input", "8xx8"), 2);
    cr_assert_eq(LOCKSTEP("info"), 2);
    cr_assert_eq(LOCKSTEP("info", "nets", "--net", "mlp"), 2);
}

/* Megabytes behind "activations". */
static double said_bytes(const char *net, const char *batch)
{
    cr_assert_eq(LOCKSTEP("info", "--net", net, "--batch", batch), 0, "%s", outcome.err);
    const char *at = strstr(outcome.out, "activations");
    double number = 0;
    char unit[4] = "";
    cr_assert(at && sscanf(at, "activations %lf %3s", &number, unit) == 2, "%s", outcome.out);
    cr_assert_str_eq(unit, "MB");
    return number * 1e6;
}

/* The largest that any child of this test has been. */
static double used_bytes(const char *net, const char *data, const char *batch)
{
    struct rusage usage;
    cr_assert_eq(LOCKSTEP("train", "--net", net, "--data", data, "--batch", batch, "--steps", "1", "--quiet"),
                 0, "%s", outcome.err);
    cr_assert_eq(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return (double)usage.ru_maxrss * 1024;
}

/* What a larger batch adds to the process is what it adds to the figure. */
static void memory_is_what_is_said(const char *net, const char *data, const char *small, const char *large)
{
#ifdef __SANITIZE_ADDRESS__
    return; /* whose own memory comes on top */
#endif
    const double said = said_bytes(net, large) - said_bytes(net, small);
    const double before = used_bytes(net, data, small), used = used_bytes(net, data, large) - before;
    cr_assert(said > 50e6, "%s: too little to measure", net);
    cr_assert(used > 0.9 * said && used < 1.1 * said, "%s: %.1f MB said, %.1f MB used", net, said / 1e6,
              used / 1e6);
}

Test(info, activations_take_the_memory_that_is_said_across_samples, .timeout = 120)
{
    memory_is_what_is_said("resnet20", "synthetic:n=64,shape=3x32x32,classes=10", "8", "64");
}

Test(info, activations_take_the_memory_that_is_said, .timeout = 120)
{
    memory_is_what_is_said("cnn", "synthetic:n=512,shape=28x28,classes=10", "32", "512");
}
