/* Nets as what a step's time depends on: of each layer its parameters, its work, and the sums over all ranks
 * that are inside of it. */
#ifndef LS_SIM_MODEL_H
#define LS_SIM_MODEL_H

#include <stddef.h>

enum { SIM_MOST_LAYERS = 256, SIM_MOST_CHANNELS = 2048 };

struct sim_layer {
    ptrdiff_t floats;   /* parameters */
    double flops;       /* of forward, a sample */
    ptrdiff_t channels; /* of batch norm, which the ranks meet inside of; else 0 */
};

struct sim_model {
    const char *name;
    int n_layers;
    ptrdiff_t n_floats;
    double flops; /* of forward, a sample */
    struct sim_layer layers[SIM_MOST_LAYERS];
};

/* "dense7": 784-2048x7-10; "vgg-a": Simonyan and Zisserman 2015, table 1, A; "resnet50": He et al. 2016,
 * table 1. Returns 0 for other names. */
int sim_model_find(struct sim_model *model, const char *name);

#endif
