/* Which of the compiled ISAs this processor runs, and how many threads operations use.  Compiled once, for
 * the baseline. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

#include "compute/ops.h"
#include "compute/parallel/team.h"

extern const struct ls_ops ls_ops_portable;
#ifdef __x86_64__
extern const struct ls_ops ls_ops_avx2, ls_ops_avx512;
#endif

ptrdiff_t ls_panel_floats = 64 * 1024; /* of an L2 of 512 KiB, where nobody knows */

static int team_size; /* 0: not set yet, the OpenMP default */
static _Thread_local int alone;

/* Every ISA of this build that runs here, best first; NULL ends the list. */
static const struct ls_ops *supported(int i)
{
    const struct ls_ops *found[4] = {NULL};
    int n = 0;
#ifdef __x86_64__
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        found[n++] = &ls_ops_avx512;
    if (avx2)
        found[n++] = &ls_ops_avx2;
#endif
    found[n] = &ls_ops_portable;
    return found[i];
}

static void fit_caches(void)
{
    static int fitted;
    if (fitted)
        return;
    fitted = 1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    const ptrdiff_t half = sysconf(_SC_LEVEL2_CACHE_SIZE) / 2 / (ptrdiff_t)sizeof(float);
    if (half > 0)
        ls_panel_floats = half < LS_SCRATCH_PANELS ? half : LS_SCRATCH_PANELS;
#endif
}

const struct ls_ops *ls_ops_parallel(const char *wanted)
{
    fit_caches();
    const struct ls_ops *ops;
    for (int i = 0; (ops = supported(i)); i++)
        if (!wanted || !strcmp(wanted, ops->name))
            return ops;
    return NULL;
}

const char *const *ls_ops_isas(void)
{
    static const char *names[4];
    const struct ls_ops *ops;
    for (int i = 0; (ops = supported(i)); i++)
        names[i] = ops->name;
    return names;
}

void ls_ops_set_threads(int n)
{
    team_size = n > 0 ? n : 1;
}

void ls_ops_set_alone(int yes)
{
    alone = yes;
}

int ls_ops_threads(void)
{
    if (alone)
        return 1;
#ifdef _OPENMP
    return team_size ? team_size : omp_get_max_threads();
#else
    return 1;
#endif
}
