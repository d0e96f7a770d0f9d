/* What users type at the program: help, commands, and misspelt words. */
#include <criterion/criterion.h>
#include <string.h>

#include "cli_checks.h"

Test(cli, help_lists_every_option_with_its_default, .timeout = LIMIT_S)
{
    static const struct {
        const char *command, *parts[32];
    } cases[] = {
        {"train",
         {"usage: lockstep train",
          "--data SPEC",
          "(default digits)",
          "--net LAYERS",
          "(default mlp: dense 128, relu",
          "--loss NAME",
          "softmax, squared, half-squared, bce, huber, hinge",
          "--batch N",
          "(default 64, or all of a",
          "--microbatch N",
          "(default 32)",
          "(default 20, or no limit with --steps)",
          "--lr X",
          "(default 0.1; adagrad",
          "--momentum X",
          "--optimizer NAME",
          "sgd, adagrad, rmsprop, adam, adamw, lars, lamb, random-search (default sgd)",
          "--schedule TEXT",
          "--warmup LENGTH",
          "--scale-lr-to BATCH",
          "--clip-norm X",
          "--drop-last",
          "--allreduce NAME",
          "(default tree)",
          "(default he-uniform)",
          "--eval-every N",
          "--progress on|off|auto",
          "exit status: 0 done"}},
        {"lrfind",
         {"usage: lockstep lrfind", "(default 1e-6)", "(default 10)", "(default 100)", "--csv FILE",
          "(default sgd)", "exit status: 0 done, also when"}},
        {"eval",
         {"usage: lockstep eval MODEL", "--part NAME", "(default test, or train when", "(default the model",
          "--confusion", "--top-k N", "--json FILE"}},
        {"predict", {"usage: lockstep predict MODEL", "index,class,p0,p1", "(default digits)"}},
        {"gradcheck",
         {"usage: lockstep gradcheck", "(default 1e-3)", "(default 1e-5)", "(default 200)",
          "(default xavier-uniform)"}},
        {"verify", {"usage: lockstep verify A B", "exit status: 0 identical; 1 different"}},
        {"info", {"usage: lockstep info MODEL", "nets|formats|machine", "--json FILE"}},
        {"bench",
         {"usage: lockstep bench", "(default 64)", "--compare-allreduce", "(default 0.9)", "--layouts LIST",
          "--rank-batch N", "MPI_Allreduce, whose own sum is not compared", "where those take seconds"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int form = 0; form < 2; form++) {
            const struct ls_outcome *o = lockstep(1, "%s %s", cases[i].command, form ? "-h" : "--help");
            check_status(o, 0, cases[i].command);
            for (int p = 0; cases[i].parts[p]; p++) {
                /* Wrapped lines: compare without blanks. */
                static char text[LS_OUTCOME_TEXT], part[200];
                size_t n = 0, m = 0;
                for (const char *c = o->out; *c; c++)
                    if (*c != ' ' && *c != '\n')
                        text[n++] = *c;
                for (const char *c = cases[i].parts[p]; *c; c++)
                    if (*c != ' ')
                        part[m++] = *c;
                text[n] = part[m] = '\0';
                cr_assert(strstr(text, part), "%s --help: no '%s' in\n%s", cases[i].command,
                          cases[i].parts[p], o->out);
            }
        }
}

Test(cli, the_program_without_a_command, .timeout = LIMIT_S)
{
    static const char *const commands[] = {"  train ",     "  lrfind ", "  eval ", "  predict ",
                                           "  gradcheck ", "  verify ", "  info ", "  bench "};
    const struct ls_outcome *o = lockstep(1, "--help");
    check_status(o, 0, "--help");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        has(o->out, commands[i], "--help");
    has(o->out, "exit status: 0 done; 1 a difference", "--help");
    check_status(o = lockstep(1, "--version"), 0, "--version");
    has(o->out, "lockstep " LS_VERSION "\n", "--version");
    check_status(o = lockstep(1, " "), 2, "no command");
    has(o->err, "usage: lockstep COMMAND", "no command");
    cr_assert(lines_beginning(o->err, "lockstep: ") == 1);
}

Test(cli, a_misspelt_word_gets_the_nearest_known_one, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *nearest;
    } cases[] = {
        {"trian", "did you mean 'train'?"},
        {"train --epoch 3", "did you mean '--epochs'?"},
        {"train --bach=3", "did you mean '--batch'?"},
        {"predict --dat digits", "did you mean '--data'?"},
        {"train --net 'dense 10, rel'", "did you mean 'relu'?"},
        {"train --net 'dens 10'", "did you mean 'dense'?"},
        {"train --loss sofmax", "did you mean 'softmax'?"},
        {"train --data digit", "did you mean digits?"},
        {"train --data fashion", "did you mean fashion-mnist?"},
        {"train --data npzz:a.npz", "did you mean npz?"},
        {"train --data csv:a.csv,b.csv", "2 files are named; needed: 1"},
        {"train --data synthetic:clases=3", "did you mean classes?"},
        {"train --init he", "did you mean 'he-uniform'?"},
        {"train --init xavier-norml", "did you mean 'xavier-normal'?"},
        {"train --shuffle yes", "Allowed: off, on"},
        {"train --allreduce three", "did you mean 'tree'?"},
        {"eval x --part tset", "did you mean 'test'?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "%s", cases[i].words);
        check_status(o, 2, cases[i].words);
        has(o->err, cases[i].nearest, cases[i].words);
    }
}
