/* Owns who checks what of the data.  See data_check.h. */
#include "cli/data_check.h"

#include <string.h>

#include "base/memory.h"

const char *const ls_check_data_names[] = {"off", "on", "auto", NULL};

/* This rank's number among those of its host, in the order of ranks. */
static enum ls_code number_on_host(struct ls_comm *comm, int *number, struct ls_error *err)
{
    const int P = ls_comm_size(comm), rank = ls_comm_rank(comm);
    const char *host = ls_comm_host(comm);
    int64_t *hosts = ls_alloc((size_t)P, sizeof *hosts, "hosts", err);
    err->code = hosts ? LS_OK : LS_FAILED;
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK) {
        hosts[rank] = (int64_t)(ls_hash_bytes(host, strlen(host)).low >> 1); /* the others add 0 */
        code = ls_comm_sum_counts(comm, hosts, P, err);
    }
    *number = 0;
    for (int r = 0; code == LS_OK && r < rank; r++)
        *number += hosts[r] == hosts[rank];
    ls_free(hosts);
    return code;
}

enum ls_code ls_check_data_of_ranks(const struct ls_data *data, enum ls_check_data check,
                                    struct ls_comm *comm, struct ls_error *err)
{
    int number = 0, here = ls_comm_ranks_on_host(comm);
    enum ls_code code = LS_OK;
    if (ls_comm_size(comm) > 1)
        code = ls_comm_compare_hashes(comm, ls_data_hash(data), "the data read by each rank", err);
    if (code == LS_OK && ls_comm_size(comm) > 1)
        code = number_on_host(comm, &number, err);
    if (code != LS_OK)
        return code;
    err->code = ls_data_check(data, check, number < here ? number : 0, here, err);
    return ls_comm_agree(comm, err);
}
