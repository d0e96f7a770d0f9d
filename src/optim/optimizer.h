/* Optimizers: a rule, its state in the parameters' flat layout, and one step (contract rule 8).
 *
 * The element-by-element formulas are ops->update and ops->adam_direction; a file a family here turns a rule
 * into their numbers, and adds what needs norms.  All of it is local: every rank holds the same sums and so
 * makes the same step. */
#ifndef LS_OPTIM_OPTIMIZER_H
#define LS_OPTIM_OPTIMIZER_H

#include "base/status.h"
#include "base/tree.h"
#include "layers/layer.h"

enum ls_optimizer_kind {
    LS_SGD,     /* plain, momentum (Polyak 1964, in PyTorch's form), Nesterov's (Sutskever et al. 2013) */
    LS_ADAGRAD, /* Duchi, Hazan, Singer 2011 */
    LS_RMSPROP, /* Tieleman and Hinton 2012; optional momentum, not centred */
    LS_ADAM,    /* Kingma and Ba 2015 */
    LS_ADAMW,   /* Loshchilov and Hutter 2019: Adam with decoupled decay */
    LS_LARS,    /* You, Gitman, Ginsburg 2017, arXiv 1708.03888 */
    LS_LAMB,    /* You et al. 2020, arXiv 1904.00962, algorithm 2 */
};

/* "sgd", "adagrad", ..., NULL-terminated, in the order of enum ls_optimizer_kind. */
extern const char *const ls_optimizer_names[];

/* Numbers that a kind does not use are ignored.  All zero is plain descent with a rate of 0. */
struct ls_optimizer_rule {
    enum ls_optimizer_kind kind;
    float learning_rate; /* the base that a schedule starts from; a step gets its own */
    float momentum;      /* SGD, RMSProp, LARS; 0: none */
    int nesterov;        /* SGD, with momentum */
    float weight_decay;
    int decoupled;           /* decay is w = w (1 - rate decay), no part of the gradient; AdamW's always is */
    int decay_skips_vectors; /* no decay of biases and of norms' gamma and beta */
    float beta1, beta2;      /* Adam, AdamW, LAMB */
    float alpha;             /* RMSProp's memory of squares */
    float epsilon;           /* all with squares, outside of the root */
    float trust;             /* LARS: its eta */
    int trust_skips_vectors; /* LARS, LAMB: biases and norms get the plain rate */
    float clip_norm;         /* > 0: scale the whole gradient down to this Euclidean norm */
    float clip_value;        /* > 0: then hold each element within it */
    int report_gradient_norm; /* take the norm also when nothing clips by it */
};

/* What PyTorch takes where the user says nothing; for LARS and LAMB what their papers take. */
struct ls_optimizer_rule ls_optimizer_defaults(enum ls_optimizer_kind kind);

enum { LS_OPTIMIZER_STATES = 2 };

/* One array of state, named for files: "velocity" (SGD, RMSProp, LARS: momentum; Adam, LAMB: the first
 * moment is "first_moment") or "second_moment". */
struct ls_optimizer_state {
    const char *name;
    float *flat;
};

struct ls_optimizer {
    struct ls_optimizer_rule rule;
    const struct ls_parameter *tensors;
    int n_tensors;
    ptrdiff_t n_floats;
    const struct ls_range *slices; /* (n_slices) */
    int n_slices;                  /* 0: all elements */
    ptrdiff_t n_state_floats;      /* of a state */
    int n_states;
    struct ls_optimizer_state
        states[LS_OPTIMIZER_STATES]; /* zero at the start; the whole memory of the past */
    float *velocity, *square;        /* the same arrays by their use, or NULL */
    float *direction;                /* LAMB: (elements of the largest tensor), holds nothing between steps */
    int64_t updates;                 /* done */
    float memory[2];                 /* 1 - beta1^updates, 1 - beta2^updates */
    struct ls_update at_hand; /* the update since ls_optimizer_begin, as tensors without decay get it */
    float learning_rate;      /* its */
};

/* For tensors in a flat buffer of n_floats; keeps the pointer to them.  Release with ls_optimizer_release,
 * also after failure. */
enum ls_code ls_optimizer_create(struct ls_optimizer *optimizer, const struct ls_optimizer_rule *rule,
                                 const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                                 struct ls_error *err);
void ls_optimizer_release(struct ls_optimizer *optimizer);

/* The same for one that updates elements of `slices` only, disjoint ranges, which stay the caller's: its
 * state arrays have these, one behind the other. */
enum ls_code ls_optimizer_create_for(struct ls_optimizer *optimizer, const struct ls_optimizer_rule *rule,
                                     const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                                     const struct ls_range *slices, int n_slices, struct ls_error *err);

/* Whether a rule can: LARS and LAMB take whole tensors. */
int ls_optimizer_takes_slices(const struct ls_optimizer_rule *rule);

/* For a run that goes on: as if `updates` updates had been made; the caller fills the states. */
void ls_optimizer_resume(struct ls_optimizer *optimizer, int64_t updates);

struct ls_optimizer_report {
    int64_t not_finite; /* nonzero: a parameter is no longer finite */
    int has_norm;
    float gradient_norm; /* Euclidean, of the mean gradient over all tensors, before clipping */
};

/* Updates w in place from summed gradients of global_batch samples.  Tensors that are state are left alone.
 * report may be NULL.  Returns report->not_finite.  It is the three below, in order. */
int64_t ls_optimizer_step(struct ls_optimizer *optimizer, const struct ls_ops *ops, int64_t global_batch,
                          float learning_rate, float *w, const float *sum,
                          struct ls_optimizer_report *report);

/* The Euclidean norm of the mean gradient over all tensors. */
float ls_optimizer_norm(const struct ls_optimizer *optimizer, const struct ls_ops *ops, int64_t global_batch,
                        const float *sum);

/* The same from sums of squares of blocks (contract rule 4), of which somebody else may know some: how many
 * there are; those in a range, which neither begins nor ends within a block, to their places in
 * blocks (that many); and the norm of all. */
ptrdiff_t ls_optimizer_blocks(const struct ls_optimizer *optimizer);
void ls_optimizer_square_blocks(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                                int64_t global_batch, struct ls_range range, const float *sum, float *blocks);
float ls_optimizer_norm_of_blocks(const struct ls_optimizer *optimizer, const float *blocks);

/* Whether a step needs that norm. */
int ls_optimizer_needs_norm(const struct ls_optimizer_rule *rule);

/* An update in parts: it begins, then every element is once in the range of a part, which is in one slice.
 * norm: of ls_optimizer_norm, where it is needed.  LARS and LAMB take whole tensors.  Returns how many
 * parameters are not finite. */
void ls_optimizer_begin(struct ls_optimizer *optimizer, int64_t global_batch, float learning_rate,
                        float norm);
int64_t ls_optimizer_part(struct ls_optimizer *optimizer, const struct ls_ops *ops, struct ls_range range,
                          float *w, const float *sum);

#endif
