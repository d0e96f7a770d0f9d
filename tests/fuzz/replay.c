/* fuzz-replay: every committed input through its target.
 *   fuzz-replay                   tests/fuzz/corpus/NAME/ and tests/fuzz/regressions/NAME/ of every target
 *   fuzz-replay NAME FILE ...     these files, with what the reader says of them
 * A finding ends it by abort(); the last line says which input it was.  Status 1 when a file cannot be read,
 * or a target has no corpus. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define TARGET(name) void fuzz_##name(const uint8_t *bytes, size_t n);
#include "targets.h"
#undef TARGET

static const struct {
    const char *name;
    fuzz_function run;
} targets[] = {
#define TARGET(name) {#name, fuzz_##name},
#include "targets.h"
#undef TARGET
};
enum { N_TARGETS = sizeof targets / sizeof *targets, MOST_BYTES = 1 << 20 };

static int replay(int target, const char *path)
{
    static uint8_t room[MOST_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 0;
    }
    const size_t n = fread(room, 1, sizeof room, file);
    fclose(file);
    printf("%s %s (%zu bytes)\n", targets[target].name, path, n);
    uint8_t *bytes = malloc(n ? n : 1); /* of its size, so that a sanitizer sees its end */
    if (!bytes)
        return 0;
    memcpy(bytes, room, n);
    fuzz_begin();
    targets[target].run(bytes, n);
    fuzz_end();
    free(bytes);
    return 1;
}

/* Returns how many inputs there were, or -1 when one could not be read. */
static int replay_folder(int target, const char *kind)
{
    char folder[200], path[500];
    int n = 0;
    snprintf(folder, sizeof folder, "tests/fuzz/%s/%s", kind, targets[target].name);
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && n >= 0 && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        n = replay(target, path) ? n + 1 : -1;
    }
    if (entries)
        closedir(entries);
    return n;
}

static int replay_all(void)
{
    int total = 0;
    for (int t = 0; t < N_TARGETS; t++) {
        const int corpus = replay_folder(t, "corpus"), findings = replay_folder(t, "regressions");
        if (corpus <= 0 || findings < 0) {
            printf("%s: no inputs in tests/fuzz/corpus, or one that cannot be read\n", targets[t].name);
            return 1;
        }
        total += corpus + findings;
    }
    printf("%d inputs through %d targets: nothing found\n", total, N_TARGETS);
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 1)
        return replay_all();
    int target = 0;
    while (target < N_TARGETS && strcmp(argv[1], targets[target].name) != 0)
        target++;
    if (target == N_TARGETS) {
        fprintf(stderr, "fuzz-replay: unknown target '%s'\n", argv[1]);
        return 2;
    }
    fuzz_shows = 1;
    for (int i = 2; i < argc; i++)
        if (!replay(target, argv[i]))
            return 1;
    return 0;
}
