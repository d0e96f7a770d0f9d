/* The commands.  Each gets the job's communicator and its own part of argv (argv[0] is the command's name),
 * returns a code that all ranks share or that main.c makes them share, and prints results on rank 0. */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include "comm/comm.h"

struct ls_command {
    const char *name;
    const char *summary; /* one line for `lockstep --help` */
    enum ls_code (*run)(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
    int one_rank; /* a second rank would only repeat it: refused under mpirun with several */
};

enum ls_code ls_command_train(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_lrfind(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_eval(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_predict(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_gradcheck(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_verify(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_info(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_convert(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);
enum ls_code ls_command_bench(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);

/* What stands on a command line: argv[1] names the command.  Collective.  Prints results, not what went
 * wrong. */
enum ls_code ls_run_command(struct ls_comm *comm, int argc, char **argv, struct ls_error *err);

#endif
