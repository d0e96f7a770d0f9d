/* Owns the named nets and who published them. */
#include "model/examples.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define IMAGE(C, H, W)                                                                                       \
    {                                                                                                        \
        .n_dims = 3, .dims = {C, H, W}, .count = (C) * (H) * (W)                                             \
    }
#define GREY(H, W)                                                                                           \
    {                                                                                                        \
        .n_dims = 2, .dims = {H, W}, .count = (H) * (W)                                                      \
    }

/* He et al. 2016, section 4.2, with projections where the shape changes (their option B). */
#define RESNET_PATH(C, STRIDE)                                                                               \
    "conv " C " 3x3 " STRIDE "pad 1 nobias, batchnorm, relu, conv " C " 3x3 pad 1 nobias, batchnorm"
#define RESNET_BLOCK(C) "residual { " RESNET_PATH(C, "") " }, relu, "
#define RESNET_DOWN(C)                                                                                       \
    "residual { " RESNET_PATH(C, "stride 2 ") " } shortcut { conv " C                                        \
                                              " 1x1 stride 2 nobias, batchnorm }, relu, "
#define RESNET20                                                                                             \
    "conv 16 3x3 pad 1 nobias, batchnorm, relu, " RESNET_BLOCK("16") RESNET_BLOCK("16") RESNET_BLOCK("16")   \
        RESNET_DOWN("32") RESNET_BLOCK("32") RESNET_BLOCK("32") RESNET_DOWN("64") RESNET_BLOCK("64")         \
            RESNET_BLOCK("64") "globalavgpool, dense %td"

#define VGG_CONV(C) "conv " C " 3x3 pad 1, relu, "
#define VGG_POOL "maxpool 2, "

static const struct ls_net_example examples[] = {
    {"softmax-regression", "logistic regression for classes: one dense layer", "dense %td", GREY(28, 28)},
    {"mlp", "the default: one hidden layer", "dense 128, relu, dense %td", GREY(28, 28)},
    {"mlp-layernorm", "layer norm and dropout",
     "dense 256, layernorm, gelu, dropout 0.1, dense 256, layernorm, gelu, dropout 0.1, dense %td",
     GREY(28, 28)},
    {"lenet5", "LeCun et al. 1998, padded to 28x28, means for its trained subsampling",
     "conv 6 5x5 pad 2, tanh, avgpool 2, conv 16 5x5, tanh, avgpool 2, flatten, dense 120, tanh, dense 84, "
     "tanh, "
     "dense %td",
     GREY(28, 28)},
    {"cnn", "two convolutions, two dense layers",
     "conv 32 3x3 pad 1, relu, maxpool 2, conv 64 3x3 pad 1, relu, maxpool 2, flatten, dense 128, relu, "
     "dense %td",
     GREY(28, 28)},
    {"fmnist-2c2d", "the net of DeepOBS's problem of that name (Schneider et al. 2019)",
     "conv 32 5x5 pad same, relu, maxpool 2, conv 64 5x5 pad same, relu, maxpool 2, flatten, dense 1024, "
     "relu, "
     "dense %td",
     GREY(28, 28)},
    {"vgg11", "Simonyan and Zisserman 2015, configuration A",
     VGG_CONV("64") VGG_POOL VGG_CONV("128") VGG_POOL VGG_CONV("256") VGG_CONV("256") VGG_POOL VGG_CONV("512")
         VGG_CONV("512") VGG_POOL VGG_CONV("512") VGG_CONV("512") VGG_POOL
     "flatten, dense 4096, relu, dropout 0.5, dense 4096, relu, dropout 0.5, dense %td",
     IMAGE(3, 32, 32)},
    {"resnet20", "He et al. 2016, for CIFAR, shortcuts with projections", RESNET20, IMAGE(3, 32, 32)},
};

enum { N_EXAMPLES = sizeof examples / sizeof examples[0] };

const struct ls_net_example *ls_net_example_at(int i)
{
    return i < N_EXAMPLES ? &examples[i] : NULL;
}

const struct ls_net_example *ls_net_example_find(const char *name)
{
    for (int i = 0; i < N_EXAMPLES; i++)
        if (strcmp(name, examples[i].name) == 0)
            return &examples[i];
    return NULL;
}

static int is_layer(const char *word)
{
    for (int i = 0; ls_layer_kind_at(i); i++)
        if (strcmp(word, ls_layer_kind_at(i)->name) == 0)
            return 1;
    return 0;
}

char *ls_net_text(const char *net, ptrdiff_t outputs, struct ls_error *err)
{
    const struct ls_net_example *example = ls_net_example_find(net);
    if (example) {
        const size_t size = strlen(example->format) + 24;
        char *text = ls_alloc(size, 1, "net text", err);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* all of them are above */
        if (text)
            snprintf(text, size, example->format, outputs);
#pragma GCC diagnostic pop
        return text;
    }
    if (*net && net[strcspn(net, " \t\r\n,#{}@")] == '\0' && !is_layer(net)) {
        const char *names[N_EXAMPLES + 1] = {NULL};
        char known[200];
        for (int i = 0; i < N_EXAMPLES; i++)
            names[i] = examples[i].name;
        ls_fail(
            err, LS_USAGE,
            "--net: '%.60s' is neither a layer nor a named net: did you mean '%s'? Named nets: %s; a file of "
            "layers is given as @FILE",
            net, ls_text_nearest(net, names), ls_text_join(names, known, sizeof known));
        return NULL;
    }
    return ls_copy_text(net, err);
}
