#include "sim/model.h"

#include <string.h>

static void add(struct sim_model *model, struct sim_layer layer)
{
    model->layers[model->n_layers++] = layer;
    model->n_floats += layer.floats;
    model->flops += layer.flops;
}

/* Pooling, and the addition at a block's end: layers after which a rank looks, too. */
static void other(struct sim_model *model)
{
    add(model, (struct sim_layer){0, 0, 0});
}

static void dense(struct sim_model *model, ptrdiff_t in, ptrdiff_t out)
{
    add(model, (struct sim_layer){in * out + out, 2.0 * (double)in * (double)out, 0});
}

/* A convolution to `size` x `size` pixels; norm: batch norm behind it, with two parameters and two running
 * averages a channel, instead of a bias.  Activations are fused. */
static void conv(struct sim_model *model, ptrdiff_t in, ptrdiff_t out, ptrdiff_t window, ptrdiff_t size,
                 int norm)
{
    const ptrdiff_t weights = in * out * window * window;
    add(model,
        (struct sim_layer){weights + (norm ? 0 : out), 2.0 * (double)weights * (double)(size * size), 0});
    if (norm)
        add(model, (struct sim_layer){4 * out, 0, out});
}

static void dense7(struct sim_model *model)
{
    dense(model, 784, 2048);
    for (int i = 0; i < 6; i++)
        dense(model, 2048, 2048);
    dense(model, 2048, 10);
}

static void vgg_a(struct sim_model *model)
{
    static const ptrdiff_t widths[][2] = {{64, 224}, {128, 112}, {256, 56}, {256, 56},
                                          {512, 28}, {512, 28},  {512, 14}, {512, 14}};
    ptrdiff_t in = 3;
    for (int i = 0; i < 8; i++) {
        conv(model, in, widths[i][0], 3, widths[i][1], 0);
        in = widths[i][0];
        if (i < 2 || i % 2 == 1)
            other(model);
    }
    dense(model, 512 * 7 * 7, 4096);
    dense(model, 4096, 4096);
    dense(model, 4096, 1000);
}

static void resnet50(struct sim_model *model)
{
    static const ptrdiff_t blocks[] = {3, 4, 6, 3};
    conv(model, 3, 64, 7, 112, 1);
    other(model);
    ptrdiff_t in = 64, size = 56;
    for (int stage = 0; stage < 4; stage++) {
        const ptrdiff_t width = (ptrdiff_t)64 << stage, out = 4 * width;
        for (int block = 0; block < blocks[stage]; block++) {
            const ptrdiff_t before = stage > 0 && block == 0 ? 2 * size : size;
            conv(model, in, width, 1, before, 1);
            conv(model, width, width, 3, size, 1);
            conv(model, width, out, 1, size, 1);
            if (block == 0)
                conv(model, in, out, 1, size, 1);
            other(model);
            in = out;
        }
        size /= 2;
    }
    other(model);
    dense(model, 2048, 1000);
}

int sim_model_find(struct sim_model *model, const char *name)
{
    *model = (struct sim_model){.name = name};
    if (strcmp(name, "dense7") == 0)
        dense7(model);
    else if (strcmp(name, "vgg-a") == 0)
        vgg_a(model);
    else if (strcmp(name, "resnet50") == 0)
        resnet50(model);
    return model->n_layers > 0;
}
