/* Whether the data is what was written, decided by all ranks together. */
#ifndef LS_CLI_DATA_CHECK_H
#define LS_CLI_DATA_CHECK_H

#include "comm/comm.h"
#include "data/dataset.h"

extern const char *const ls_check_data_names[]; /* of enum ls_check_data */

#define LS_CHECK_DATA_OPTION(target)                                                                         \
    {                                                                                                        \
        "check-data", "auto|on|off", LS_OPTION_CHOICE, target,                                               \
            "compare an .lsd file with its checksums first; auto: up to 4 GiB; labels are always checked",   \
            "auto", 0, 0, ls_check_data_names, NULL                                                          \
    }

/* Collective, and ends in agreement.  Ranks of one host divide the file among themselves, since each host may
 * have a copy of its own; then all compare the hash of what they opened. */
enum ls_code ls_check_data_of_ranks(const struct ls_data *data, enum ls_check_data check,
                                    struct ls_comm *comm, struct ls_error *err);

#endif
