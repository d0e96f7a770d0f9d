/* lockstep info --net NET, info nets: shapes, parameters, FLOPs and memory before anything is trained. */
#include "cli/info_net.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "model/examples.h"
#include "model/execute.h"
#include "train/step.h"

/* "1.25 MB": decimal units, three digits. */
static const char *bytes_text(size_t bytes, char text[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 999.5 && unit < 4; unit++)
        value /= 1000;
    const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, 16, "%.*f %s", digits, value, units[unit]);
    return text;
}

/* A double counts further than int64_t does. */
static const char *flops_text(double flops, char text[32])
{
    if (flops < 1e18)
        return ls_text_grouped((int64_t)flops, text);
    snprintf(text, 32, "%.4g", flops);
    return text;
}

static ptrdiff_t trained_of(const struct ls_net *net, const struct ls_layer *layer)
{
    ptrdiff_t n = 0;
    for (int t = layer->first_tensor; t < layer->first_tensor + layer->n_tensors; t++)
        n += net->tensors[t].is_state ? 0 : net->tensors[t].count;
    return n;
}

static double flops_of(const struct ls_layer *layer)
{
    return layer->kind->flops ? layer->kind->flops(layer) : 0;
}

/* Bytes that a sample's output takes in training, or why it takes none. */
static const char *output_text(const struct ls_net *net, int i, char text[16])
{
    const struct ls_layer *layer = &net->layers[i];
    if (layer->skip)
        return "in place";
    if (!ls_output_is_made(net, i, 1))
        return "in the sum";
    return bytes_text(((size_t)layer->out.count + (size_t)layer->aux_floats_per_row) * sizeof(float), text);
}

static void print_layers(const struct ls_net *net)
{
    char shape[100], parameters[32], flops[32], bytes[16];
    int widest = 5;
    for (int i = 0; i < net->n_layers; i++) {
        const int width = (int)(strlen(net->layers[i].name) + 2 + strlen(net->layers[i].text));
        widest = width > widest ? width : widest;
    }
    printf("%-*s  %-12s  %12s  %14s  %12s\n", widest, "layer", "output", "parameters", "FLOP a sample",
           "bytes a sample");
    printf("%-*s  %-12s  %12s  %14s  %12s\n", widest, "input", ls_shape_format(&net->in, shape, sizeof shape),
           "", "", bytes_text((size_t)net->in.count * sizeof(float), bytes));
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        const ptrdiff_t trained = trained_of(net, layer);
        char label[160];
        snprintf(label, sizeof label, "%s%s%s", layer->name, *layer->name ? "  " : "", layer->text);
        printf("%-*s  %-12s  %12s  %14s  %12s\n", widest, label,
               ls_shape_format(&layer->out, shape, sizeof shape),
               trained ? ls_text_grouped(trained, parameters) : "-",
               flops_of(layer) > 0 ? flops_text(flops_of(layer), flops) : "-", output_text(net, i, bytes));
    }
}

static enum ls_code print_totals(const struct ls_net *net, const struct ls_info_net *o, struct ls_error *err)
{
    char a[32], b[16], c[16], d[16];
    double flops = 0;
    for (int i = 0; i < net->n_layers; i++)
        flops += flops_of(&net->layers[i]);
    const struct ls_engine_plan plan = {
        .microbatch = o->microbatch, .batch = {o->batch}, .n_evaluated = o->batch, .with_gradients = 1};
    struct ls_activation_bytes bytes = {0};
    ptrdiff_t rows = 0;
    enum ls_code code = ls_engine_rows(net, &plan, (int)o->ranks, &rows, err);
    if (code == LS_OK)
        code = ls_activations_bytes(net, rows, 1, &bytes, err);
    if (code != LS_OK)
        return code;
    const size_t parameters = (size_t)net->n_floats * sizeof(float);
    printf("\nparameters   %s trained, %s\n", ls_text_grouped(net->n_parameters, a),
           bytes_text(parameters, b));
    printf("forward      %.4g MFLOP a sample; a training step about three times that\n", flops / 1e6);
    printf("activations  %s a rank for B = %lld on %lld rank%s: %s of outputs, %s of gradients, for passes "
           "of %td "
           "samples\n",
           bytes_text(bytes.outputs + bytes.gradients, b), (long long)o->batch, (long long)o->ranks,
           o->ranks == 1 ? "" : "s", bytes_text(bytes.outputs, c), bytes_text(bytes.gradients, d), rows);
    if (net->sync_floats > 0)
        printf("             batch norm needs all of a rank's samples in one pass\n");
    return LS_OK;
}

enum ls_code ls_info_net(const struct ls_info_net *options, struct ls_error *err)
{
    const struct ls_net_example *example = ls_net_example_find(options->net);
    struct ls_shape in = example ? example->in : ls_shape_of(2, (const ptrdiff_t[]){28, 28});
    if (options->input && !ls_shape_parse(options->input, &in))
        return ls_fail(err, LS_USAGE, "--input: '%s' is no shape such as 784, 28x28 or 3x32x32",
                       options->input);
    struct ls_net net = {0};
    char *text = ls_net_text(options->net, (ptrdiff_t)options->outputs, err);
    enum ls_code code = text ? ls_net_create(&net, text, in, err) : LS_USAGE;
    if (code == LS_OK) {
        print_layers(&net);
        code = print_totals(&net, options, err);
    }
    ls_net_release(&net);
    ls_free(text);
    return code;
}

enum ls_code ls_info_nets(struct ls_error *err)
{
    char shape[100], parameters[32];
    printf("%-20s %-9s %12s  %s\n", "net", "input", "parameters", "with 10 outputs");
    for (int i = 0; ls_net_example_at(i); i++) {
        const struct ls_net_example *example = ls_net_example_at(i);
        struct ls_net net = {0};
        char *text = ls_net_text(example->name, 10, err);
        const enum ls_code code = text ? ls_net_create(&net, text, example->in, err) : LS_FAILED;
        if (code == LS_OK)
            printf("%-20s %-9s %12s  %s\n", example->name, ls_shape_format(&net.in, shape, sizeof shape),
                   ls_text_grouped(net.n_parameters, parameters), example->about);
        ls_net_release(&net);
        ls_free(text);
        if (code != LS_OK)
            return code;
    }
    printf("\nlockstep info --net NAME shows the layers of one; --net NAME trains it.\n");
    return LS_OK;
}
