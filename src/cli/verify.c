/* lockstep verify A B: are two models, or two run logs, the same result? */
#include "cli/cli.h"
#include "cli/options.h"

#include "formats/compare.h"

enum ls_code ls_command_verify(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    (void)comm;
    const struct ls_command_line line = {
        .command = "verify",
        .synopsis = "lockstep verify A B",
        .summary = "Compares two saved models, or two run logs of train --log, bit for bit, and prints "
                   "'identical' or the first "
                   "step, tensor and element that differ, with both values. Times, ranks and threads are not "
                   "part of a result.",
        .notes = "exit status: 0 identical; 1 different; 2 usage; 3 a file cannot be read.\n"
                 "A log holds hashes for each tensor at each epoch, and at each N-th step with train "
                 "--hash-every N.\n",
        .least_words = 2,
        .most_words = 2,
    };
    const char *words[2];
    int n_words = 0, help = 0;
    const enum ls_code code = ls_options_parse(&line, argc, argv, words, &n_words, stdout, &help, err);
    if (code != LS_OK || help)
        return code;
    return ls_compare_files(words[0], words[1], stdout, err);
}
