/* Every binary32 through every elementary function: the largest error in ulp, where, and one hash of all
 * results, which must be the same on every machine.  `make exhaustive`; about six minutes on two cores.
 *
 *   elementary [NAME|all [STEP]]     one function only; every STEP-th bit pattern only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "elementary_cases.h"

enum { CHUNKS = 1 << 14, CHUNK = 1 << 18 }; /* together 2^32 */

struct chunk_result {
    double error;
    float x, y;
    struct ls_hash hash;
};

static struct chunk_result results[CHUNKS];

static void sweep_chunk(const struct elementary_case *function, uint32_t first, uint32_t step,
                        struct chunk_result *result)
{
    enum { ROW = 4096 };
    float x[ROW], y[ROW];
    struct ls_hasher *hasher = ls_hasher_create();
    if (!hasher) {
        fprintf(stderr, "elementary: out of memory\n");
        exit(3);
    }
    *result = (struct chunk_result){.error = -1};
    for (uint64_t at = 0; at < CHUNK;) {
        ptrdiff_t n = 0;
        for (; n < ROW && at < CHUNK; at += step)
            x[n++] = ls_float(first + (uint32_t)at);
        case_fastest_loop(function)(n, y, x);
        ls_hasher_add(hasher, y, (size_t)n * sizeof *y);
        for (ptrdiff_t i = 0; i < n; i++) {
            const double error = case_ulp_error(y[i], function->exact((double)x[i]));
            if (error > result->error) {
                result->error = error;
                result->x = x[i];
                result->y = y[i];
            }
        }
    }
    result->hash = ls_hasher_end(hasher);
    ls_hasher_destroy(&hasher);
}

/* Prints one line; returns whether the function keeps its promise of 2 ulp. */
static int sweep(const struct elementary_case *function, uint32_t step)
{
#pragma omp parallel for schedule(dynamic) default(none) shared(results) firstprivate(function, step)
    for (int c = 0; c < CHUNKS; c++)
        sweep_chunk(function, (uint32_t)c * (uint32_t)CHUNK, step, &results[c]);
    struct chunk_result worst = results[0];
    static struct ls_hash hashes[CHUNKS];
    for (int c = 0; c < CHUNKS; c++) {
        hashes[c] = results[c].hash;
        if (results[c].error > worst.error)
            worst = results[c];
    }
    char text[LS_HASH_TEXT];
    ls_hash_text(ls_hash_bytes(hashes, sizeof hashes), text);
    printf("%-8s %8.4f ulp at %a -> %a   %s\n", function->name, worst.error, (double)worst.x, (double)worst.y,
           text);
    fflush(stdout);
    return worst.error <= 2.0;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : "all";
    const long step = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    int n = 0, kept = 1;
    if (step < 1 || step > CHUNK) {
        fprintf(stderr, "elementary: a step of '%s': allowed are 1 to %d\n", argv[2], CHUNK);
        return 2;
    }
    for (int f = 0; f < N_ELEMENTARY_CASES; f++) {
        if (strcmp(wanted, "all") != 0 && strcmp(wanted, elementary_cases[f].name) != 0)
            continue;
        kept = sweep(&elementary_cases[f], (uint32_t)step) && kept;
        n++;
    }
    if (n == 0) {
        fprintf(stderr, "elementary: no function '%s'\n", wanted);
        return 2;
    }
    return kept ? 0 : 1;
}
