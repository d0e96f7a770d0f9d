/* Lanes: threads that each take leaves of their own through the whole net, forward, loss and backward, and
 * meet once, for the tree over what they have found.
 *
 * Threads that share out each operation meet after each, and read what others have written.  Lanes do
 * neither, but need a gradient each, which is written, read and added: they pay where a net has few
 * parameters for the work that its samples make.  Leaves are shared out whole, and the tree is the
 * contract's, so lanes can change no bit. */
#ifndef LS_TRAIN_LANES_H
#define LS_TRAIN_LANES_H

#include "base/tree.h"
#include "model/execute.h"

enum { LS_MOST_LANES = 16 };

/* Rows of a pass on their way through the net, and what belongs to each of them. */
struct ls_lane {
    _Alignas(64) struct ls_activations *act;
    float *sample_loss; /* (rows) */
    int64_t *index;     /* (rows), into the data at hand */
    int64_t *stored;    /* (rows), of a subset: into what it is a subset of */
    int32_t *labels;    /* (rows) */
    float *values;      /* (rows, n_values) */
    double data_s, compute_s;
};

struct ls_lanes {
    int n; /* 0: none */
    ptrdiff_t n_values;
    double work_ns; /* of a sample, on one core */
    struct {
        struct ls_lane lane;
        _Alignas(64) struct ls_activations act;
    } each[LS_MOST_LANES]; /* on cache lines of its own */
};

/* Whether lanes are taken: as ls_lanes_pay finds, or, which only tests and benches choose, wherever every
 * lane has a leaf, or nowhere. */
enum ls_lanes_rule { LS_LANES_THAT_PAY, LS_LANES_ALWAYS, LS_LANES_NEVER };
extern enum ls_lanes_rule ls_lanes_rule;

/* As many lanes as `ops` has threads, none where they cannot pay, over rows of `whole`.  Local. */
enum ls_code ls_lanes_create(struct ls_lanes *lanes, const struct ls_net *net, const struct ls_ops *ops,
                             const struct ls_lane *whole, ptrdiff_t n_values, struct ls_error *err);
void ls_lanes_release(struct ls_lanes *lanes);

/* Whether a pass of these leaves, of a tree over n_leaves, and of so many rows is faster in lanes. */
int ls_lanes_pay(const struct ls_lanes *lanes, const struct ls_net *net, int64_t n_leaves,
                 struct ls_range leaves, ptrdiff_t rows);

/* Lane i, for the rows of `whole` from `row` on. */
struct ls_lane *ls_lanes_at(struct ls_lanes *lanes, int i, const struct ls_lane *whole, ptrdiff_t row);

#endif
