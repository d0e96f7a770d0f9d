/* Numbers that are silently wrong, and what notices.  The flips are those of `make FAULTS=1` builds. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 60 };

#if LS_WITH_MPI

#    define SMALL                                                                                            \
        "--data synthetic:n=230,shape=8x8,classes=10 --epochs 2 --quiet --threads 1 --batch 100 "            \
        "--microbatch 7 "

static const char *const nets[] = {
    "dense 32, relu, dropout 0.2, dense 10",
    "conv 6 3x3 pad same, batchnorm, relu, residual { conv 6 3x3 pad 1, batchnorm }, relu, maxpool 2, dense "
    "10",
};

/* Cutting a leaf out of its subtree, doing it again and reducing twice leave the run's bits alone; and
 * nothing is found where nothing is wrong. */
Test(mpi, a_cross_check_changes_no_bit, .timeout = LIMIT_S + 20)
{
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int accumulate = 1; accumulate <= 2; accumulate++) {
            struct hash_text plain = {""};
            for (int ranks = 0; ranks <= 4; ranks += ranks ? 3 : 1) {
                const struct ls_outcome *o =
                    lockstep(ranks ? ranks : 1, "train " SMALL "--net '%s' --accumulate %d --cross-check %d",
                             nets[i], accumulate, ranks ? 1 : 0);
                cr_assert(o->status == 0, "status %d\n%s", o->status, o->err);
                const struct hash_text hash = last_hash(o->out);
                if (ranks == 0)
                    plain = hash;
                cr_assert(hash.text[0] && strcmp(hash.text, plain.text) == 0, "%s, %d ranks: %s, not %s",
                          nets[i], ranks, hash.text, plain.text);
            }
        }
}

/* Runs the build that flips bits. */
static const struct ls_outcome *with_fault(int ranks, const char *fault, const char *options)
{
    static struct ls_outcome o;
    static char setting[120], command[1000];
    static const char program[] = "build/faults/lockstep";
    cr_assert(access(program, X_OK) == 0, "'%s' is missing: make FAULTS=1 %s (make test does that)", program,
              program);
    snprintf(setting, sizeof setting, "LOCKSTEP_FAULT=%s", fault);
    snprintf(command, sizeof command, "exec %s train " SMALL "%s", program, options);
    const char *const env[] = {setting, "OMP_NUM_THREADS=1", NULL};
    ls_launch_mpi(&o, ranks, LIMIT_S, env, LS_ARGV("sh", "-c", command));
    return &o;
}

static void expect_found(const struct ls_outcome *o, const char *const words[])
{
    cr_assert(o->status == 5, "status %d\n%s", o->status, o->err);
    for (int i = 0; words[i]; i++)
        cr_assert(strstr(o->err, words[i]), "no '%s' in\n%s", words[i], o->err);
    cr_assert(lines_beginning(o->err, "lockstep: ") == 1, "%s", o->err);
}

#    define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The bit in question is worth 2^20 units of the last place. */
Test(mutants, a_weight_that_flips_is_found_and_named, .timeout = LIMIT_S + 20)
{
    char host[80] = "", odd[120];
    gethostname(host, sizeof host - 1);
    snprintf(odd, sizeof odd, "rank 1 on %s has ", host);
    const char *const fault = "weight:step=2,rank=1,element=135,bit=20";
    expect_found(with_fault(3, fault, "--hash-every 1"),
                 WORDS("lockstep: parameters after step 2 differ between ranks: ", odd, "2 of 3 ranks have ",
                       "First difference: 0.weight[7,1] is ", " on rank 1, ",
                       " on rank 0; 1 numbers differ"));
    expect_found(with_fault(3, fault, "--cross-check 2"), WORDS("parameters after step 2 differ", odd));
    /* Without either, the end of the epoch finds it. */
    expect_found(with_fault(3, fault, ""), WORDS("parameters after step 3 differ", odd));
}

/* Found whichever leaf is drawn, since rank 1 is wrong each time: as the owner, or as the one that checks. */
Test(mutants, a_core_that_is_always_wrong_is_found_and_named, .timeout = LIMIT_S + 20)
{
    static const char *const faults[] = {"gradient:step=1,rank=1,element=135,bit=10,every",
                                         "activation:step=1,rank=1,element=50,bit=22,every"};
    for (size_t i = 0; i < 2; i++) {
        const struct ls_outcome *o = with_fault(3, faults[i], "--cross-check 1");
        expect_found(o, WORDS("lockstep: cross-check of step ", " has two gradients: ",
                              ", whose leaf it is, and ", ", which computed it again; ",
                              "a third computation, by rank ", ": rank 1 on ", " was wrong"));
        o = with_fault(3, faults[i], "--hash-every 1"); /* it reaches all replicas alike */
        cr_assert(o->status == 0, "status %d\n%s", o->status, o->err);
    }
    expect_found(with_fault(2, faults[0], "--cross-check 1"), WORDS("a third computation, by rank "));
}

Test(mutants, a_message_that_changes_on_its_way_is_found, .timeout = LIMIT_S + 20)
{
    /* On four ranks and a power of two of leaves pairs swap halves, else all send to the owners of slices. */
    static const char *const cuts[] = {"--cross-check 1", "--cross-check 1 --batch 64 --microbatch 16"};
    static const char *const hosts[] = {"1", "2", "4"};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++) {
            setenv("LOCKSTEP_RANKS_PER_HOST", hosts[j], 1);
            expect_found(with_fault(4, "message:step=2,rank=3,element=40,bit=3", cuts[i]),
                         WORDS("lockstep: the allreduce of the gradients of step 2 is wrong: on rank ",
                               ", and reduced a second time from the same subtree sums "));
        }
}

/* Two ranks on two hosts, of which one gets a changed message. */
static const struct ls_outcome *faulty_hosts(const char *arguments, const char *fault)
{
    char before[400];
    snprintf(before, sizeof before,
             "LOCKSTEP_RANKS_PER_HOST=1 LOCKSTEP_FAULT=message:%s build/faults/lockstep %s #", fault,
             arguments);
    return lockstep_after(2, before, "train");
}

static void expect_disagreement(const char *arguments, const char *fault)
{
    const struct ls_outcome *o = faulty_hosts(arguments, fault);
    cr_assert(o->status == 5 && strstr(o->err, "lockstep: replicas disagree: rank ") &&
                  strstr(o->err, ": its numbers are not finite, those of others are."),
              "status %d\n%s", o->status, o->err);
}

#    define LINEAR                                                                                           \
        "--data synthetic:n=230,shape=8x8,classes=10 --loss half-squared --steps 4 --quiet --threads 1 "     \
        "--batch 4 --microbatch 2 --net 'dense 10' "

/* Which sum's message comes first is chance; whose message is struck is not. */
Test(mutants, a_fault_of_sums_under_way_is_always_the_same, .timeout = LIMIT_S + 20)
{
    static struct ls_outcome o;
    ls_launch_mpi(&o, 2, LIMIT_S, (const char *const[]){"LOCKSTEP_RANKS_PER_HOST=1", NULL},
                  LS_ARGV("build/faults/mpi-cases", "fault-flights", "2"));
    cr_assert(o.status == 0, "status %d\n%s", o.status, o.err);
}

/* Between comparisons a rank whose numbers alone turned to infinity must not leave the others waiting. Struck
 * is the other rank's sum for a bias, between 1 and 2, of which one bit makes no finite number. */
Test(mutants, one_rank_that_is_not_finite_does_not_act_alone, .timeout = LIMIT_S + 20)
{
    expect_disagreement("train --steps 2 --net 'dense 32, tanh, dense 10'",
                        "step=1,rank=1,element=2402,bit=30");
}

/* Nor one that alone has a loss which is not finite.  Two samples of a leaf lose 1/2 each while all weights
 * are zero, and one bit makes infinity of 1: of what rank 0 gets of rank 1's leaf, behind the 656 gradients.
 */
Test(mutants, one_loss_that_is_not_finite_does_not_act_alone, .timeout = LIMIT_S + 20)
{
    expect_disagreement("train " LINEAR "--init zeros --overlap off", "step=1,rank=0,element=656,bit=30");
}

/* With --shard-optimizer parameters travel after the update: what then is not a number on one rank makes the
 * next gradient so on all, of which only this one finds the parameter. */
Test(mutants, one_slice_that_is_not_finite_is_found_and_named, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o =
        faulty_hosts("train " LINEAR "--init constant=1.5 --lr 1e-6 --shard-optimizer",
                     "step=1,rank=0,element=400,bit=30");
    cr_assert(o->status == 5 && strstr(o->err, "parameters after step 2 differ between ranks: ") &&
                  strstr(o->err, ", nan 0x7f"),
              "status %d\n%s", o->status, o->err);
}

/* A weight that is wrong never gets into a checkpoint: the one before it is whole, and leads to the bits of
 * the run in which nothing happened. */
Test(mutants, the_checkpoint_before_a_flip_is_intact, .timeout = 2 * LIMIT_S)
{
    const struct folder folder = folder_create();
    char options[200], command[200];
    const struct hash_text clean = last_hash(lockstep(1, "train " SMALL)->out);
    snprintf(options, sizeof options, "--checkpoint %s/c --checkpoint-every 2steps", folder.path);
    expect_found(with_fault(3, "weight:step=4,rank=2,element=135,bit=3", options),
                 WORDS("lockstep: parameters after step 4 differ between ranks: rank 2 on "));
    const struct ls_outcome *o = lockstep(2, "train --resume %s/c", folder.path);
    const struct hash_text resumed = last_hash(o->out);
    cr_assert(o->status == 0 && clean.text[0] && strcmp(resumed.text, clean.text) == 0,
              "status %d, %s, not %s\n%s", o->status, resumed.text, clean.text, o->err);
    snprintf(command, sizeof command, "find %s -delete", folder.path);
    cr_assert_eq(system(command), 0);
}

#endif
