/* A rank's subtree sums while it works through its leaves: finished subtrees in order, siblings merged as
 * soon as both are there, like a binary counter whose digits are vectors of floats.
 *
 * Slots are the vectors.  They are all allocated at set-up: the number that a range of leaves needs is found
 * by running the same merging without numbers. */
#ifndef LS_TRAIN_ROOTS_H
#define LS_TRAIN_ROOTS_H

#include "base/status.h"
#include "base/tree.h"
#include "compute/ops.h"

struct ls_roots {
    int64_t n_leaves;   /* of the tree at hand */
    ptrdiff_t n_floats; /* of a slot */
    int n_slots, borrowed;
    float **slots; /* slots[0..n) hold finished subtrees in ascending order; the rest are free */
    int n;
    struct ls_node nodes[2 * LS_MAX_ROOTS]; /* of slots[0..n) */
};

/* How many slots the leaves of `range` need when they come in passes of `pass_leaves`, each cut into
 * `shares` shares. */
int ls_roots_needed(int64_t n_leaves, struct ls_range range, int64_t pass_leaves, int shares);

enum ls_code ls_roots_create(struct ls_roots *roots, int n_slots, ptrdiff_t n_floats, struct ls_error *err);
void ls_roots_release(struct ls_roots *roots);

/* The same with slots that are the caller's, and stay so. */
enum ls_code ls_roots_create_in(struct ls_roots *roots, int n_slots, ptrdiff_t n_floats, float *const *slots,
                                struct ls_error *err);

/* Forgets all sums; the next tree has n_leaves. */
void ls_roots_start(struct ls_roots *roots, int64_t n_leaves);

/* Appends the nodes of the leaves in `range`, which must follow what is there, and returns how many; their
 * slots, to be filled by the caller, are roots->slots[old n ...]. */
int ls_roots_append(struct ls_roots *roots, struct ls_range range);

/* The same with `leaf`, if it is in the range, as a node of its own. */
int ls_roots_append_cut(struct ls_roots *roots, struct ls_range range, int64_t leaf);

/* Adds siblings until none are left.  ops may be NULL: then only the nodes are merged. */
void ls_roots_merge(struct ls_roots *roots, const struct ls_ops *ops);

/* The end of the pass that begins at leaf `at`: passes end at multiples of pass_leaves, so that they are
 * subtrees. */
int64_t ls_pass_end(int64_t at, int64_t end, int64_t pass_leaves);

#endif
