/* The net's language and what is made of it: text, names, places in messages, shapes, orders in memory, fused
 * activations.  What layers compute is in test_gradcheck_layers.c, test_fixtures.c and the matrix. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "files.h"
#include "model/execute.h"

static struct ls_error err;

static struct ls_shape features(ptrdiff_t n)
{
    return ls_shape_of(1, &n);
}

static struct ls_shape image(ptrdiff_t C, ptrdiff_t H, ptrdiff_t W)
{
    return ls_shape_of_image(C, H, W);
}

static struct ls_net create(const char *text, struct ls_shape in)
{
    struct ls_net net;
    cr_assert(ls_net_create(&net, text, in, &err) == LS_OK, "'%s': %s", text, err.text);
    return net;
}

/* --- text and names --- */

static void expect_text(const char *text, const char *canonical)
{
    struct ls_net net = create(text, image(3, 8, 8));
    cr_expect_str_eq(net.text, canonical, "'%s' became '%s'", text, net.text);
    ls_net_release(&net);
    net = create(canonical, image(3, 8, 8));
    cr_expect_str_eq(net.text, canonical, "'%s' became '%s'", canonical, net.text);
    ls_net_release(&net);
}

Test(net, has_one_text_however_it_is_written)
{
    expect_text("dense 3", "dense 3");
    expect_text("  dense\t 3 ,relu,dense 4   nobias ", "dense 3, relu, dense 4 nobias");
    expect_text("dense 3\n\n  relu # the kink\n# none\ndense 4\n", "dense 3, relu, dense 4");
    expect_text("dense 3, # why\n relu\r\ndense 4\r\n", "dense 3, relu, dense 4");
    expect_text("residual{tanh}", "residual { tanh }");
    expect_text("residual { tanh\n gelu }\nshortcut{conv 3 1x1},relu",
                "residual { tanh, gelu } shortcut { conv 3 1x1 }, relu");
    expect_text("residual # a block\n{\n  # nothing\n  tanh\n}\n\nshortcut\n{ gelu\n}\n\nrelu",
                "residual { tanh } shortcut { gelu }, relu");
    expect_text("residual{residual{tanh}shortcut{gelu},relu}",
                "residual { residual { tanh } shortcut { gelu }, relu }");
    expect_text("conv 4 3x3 stride 2 pad same groups 1 nobias",
                "conv 4 3x3 stride 2 pad same groups 1 nobias");
}

static void expect_names(const char *text, const char *names)
{
    struct ls_net net = create(text, image(3, 8, 8));
    char found[2000] = "";
    for (int t = 0; t < net.n_tensors; t++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", t ? " " : "",
                 net.tensors[t].name);
    cr_expect_str_eq(found, names, "'%s' has '%s'", text, found);
    ls_net_release(&net);
}

Test(net, names_tensors_as_pytorch_does)
{
    expect_names("dense 3, relu, dense 4 nobias", "0.weight 0.bias 2.weight");
    expect_names("conv 2 3x3, flatten, dense 3 nobias", "0.weight 0.bias 2.weight");
    expect_names("batchnorm, layernorm", "0.weight 0.bias 0.running_mean 0.running_var 1.weight 1.bias");
    expect_names(
        "relu, residual { tanh, conv 3 1x1 nobias } shortcut { conv 3 1x1 nobias, gelu, conv 3 1x1 nobias }, "
        "dense 2 nobias",
        "1.main.1.weight 1.shortcut.0.weight 1.shortcut.2.weight 2.weight");
    expect_names(
        "residual { residual { dense 192 nobias } shortcut { dense 192 nobias } } shortcut { flatten }",
        "0.main.0.main.0.weight 0.main.0.shortcut.0.weight");
    expect_names("residual{tanh}shortcut{residual{tanh}shortcut{residual{tanh}shortcut{residual{tanh}"
                 "shortcut{batchnorm}}"
                 "}}",
                 "0.shortcut.0.shortcut.0.shortcut.0.shortcut.0.weight "
                 "0.shortcut.0.shortcut.0.shortcut.0.shortcut.0.bias "
                 "0.shortcut.0.shortcut.0.shortcut.0.shortcut.0.running_mean "
                 "0.shortcut.0.shortcut.0.shortcut.0.shortcut.0.running_var");
}

Test(net, lays_tensors_out_apart_and_counts_what_is_trained)
{
    struct ls_net net = create("conv 5 3x3, batchnorm, relu, dense 3", image(3, 6, 6));
    cr_expect(net.n_parameters == 5 * 27 + 5 + 10 + 3 * 5 * 16 + 3, "%td", net.n_parameters);
    ptrdiff_t end = 0;
    for (int t = 0; t < net.n_tensors; t++) {
        const struct ls_parameter *tensor = &net.tensors[t];
        cr_expect(tensor->offset % 16 == 0 && tensor->offset >= end, "%s", tensor->name);
        end = tensor->offset + tensor->count;
        cr_expect(tensor->is_state == (strstr(tensor->name, "running") != NULL), "%s", tensor->name);
    }
    cr_expect(net.n_floats >= end && net.n_floats % 16 == 0);
    cr_expect(net.sync_floats == 10, "two sums a channel: %td", net.sync_floats);
    ls_net_release(&net);
}

/* --- shapes --- */

static void expect_shape(const char *text, struct ls_shape in, const char *out)
{
    char found[100];
    struct ls_net net = create(text, in);
    cr_expect_str_eq(ls_shape_format(&net.out, found, sizeof found), out, "'%s' gives %s", text, found);
    ls_net_release(&net);
}

Test(net, infers_shapes)
{
    const struct ls_shape rgb = image(3, 11, 8), flat = features(12);
    const ptrdiff_t gray_dims[] = {9, 7};
    const struct ls_shape gray = ls_shape_of(2, gray_dims);
    expect_shape("dense 5", flat, "5");
    expect_shape("dense 5", rgb, "5");
    expect_shape("flatten", rgb, "264");
    expect_shape("conv 7 3x3", rgb, "7x9x6");
    expect_shape("conv 7 3x3", gray, "7x7x5");
    expect_shape("conv 7 3", rgb, "7x9x6");
    expect_shape("conv 7 5x3 pad same", rgb, "7x11x8");
    expect_shape("conv 7 3x3 pad same stride 2", rgb, "7x6x4");
    expect_shape("conv 7 3x2 stride 2x3 pad 2x1", rgb, "7x7x3");
    expect_shape("conv 6 3x3 depthwise", rgb, "6x9x6");
    expect_shape("conv 9 11x8 groups 3", rgb, "9x1x1");
    expect_shape("maxpool 2x2", rgb, "3x5x4");
    expect_shape("maxpool 2", gray, "1x4x3");
    expect_shape("maxpool 3x3 stride 2 pad 1", rgb, "3x6x4");
    expect_shape("avgpool 3x2 stride 1", rgb, "3x9x7");
    expect_shape("globalavgpool", rgb, "3");
    expect_shape("globalavgpool", gray, "1");
    expect_shape("batchnorm, layernorm, dropout 0.5, relu, leakyrelu, gelu, tanh, sigmoid, softplus, softmax",
                 rgb, "3x11x8");
    expect_shape("batchnorm, layernorm, dropout 0.5, relu, softmax", flat, "12");
    expect_shape("residual { conv 3 3x3 pad same }", rgb, "3x11x8");
    expect_shape("residual { conv 5 3x3 stride 2 pad same } shortcut { conv 5 1x1 stride 2 }", rgb, "5x6x4");
    expect_shape("residual { dense 4, relu } shortcut { dense 4 }", rgb, "4");
}

/* --- messages --- */

struct bad {
    const char *text;
    struct ls_shape in;
    const char *parts[4]; /* of the message */
};

static void expect_error(const struct bad *bad)
{
    struct ls_net net;
    struct ls_error found = {.code = LS_OK};
    const enum ls_code code = ls_net_create(&net, bad->text, bad->in, &found);
    cr_expect(code == LS_USAGE, "'%s' gave %d: %s", bad->text, (int)code, found.text);
    for (int i = 0; i < 4 && bad->parts[i]; i++)
        cr_expect(strstr(found.text, bad->parts[i]), "'%s': no \"%s\" in \"%s\"", bad->text, bad->parts[i],
                  found.text);
    ls_net_release(&net);
}

#define EXPECT_ERRORS(cases)                                                                                 \
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases)[0]; i++)                                            \
    expect_error(&(cases)[i])

#define RGB                                                                                                  \
    {                                                                                                        \
        .n_dims = 3, .dims = {3, 11, 8}, .count = 264                                                        \
    }
#define FLAT                                                                                                 \
    {                                                                                                        \
        .n_dims = 1, .dims = {12}, .count = 12                                                               \
    }

#define TEN "tanh, tanh, tanh, tanh, tanh, tanh, tanh, tanh, tanh, tanh, "
#define BLOCK "residual { tanh } shortcut { "

Test(net, says_where_a_text_is_none)
{
    static const struct bad cases[] = {
        {"", FLAT, {"--net: no layer in ''"}},
        {"  # nothing", FLAT, {"--net: no layer in '  # nothing'"}},
        {",dense 3", FLAT, {"--net, layer 1: nothing in front of the comma"}},
        {"dense 3,", FLAT, {"--net, layer 1: nothing behind the comma"}},
        {"dense 3,,relu", FLAT, {"--net, layer 1: nothing behind the comma"}},
        {"dense 3, # and\n", FLAT, {"nothing behind the comma"}},
        {"dense 3\n, relu", FLAT, {"--net, layer 2: nothing in front of the comma"}},
        {"dense 3, dens 4",
         FLAT,
         {"--net, layer 2 ('dens 4'): unknown layer 'dens'", "did you mean 'dense'"}},
        {"dense 3, swish", FLAT, {"--net, layer 2 ('swish')", "softplus", "residual"}},
        {"{ relu }", FLAT, {"--net, layer 1: no layer in front of the brace"}},
        {"dense 3 { relu }", FLAT, {"--net, layer 1: '{' belongs behind 'residual' or 'shortcut'"}},
        {"dense 3 }", FLAT, {"--net, layer 1: '}' without a '{' before it"}},
        {"}", FLAT, {"'}' without a '{' before it"}},
        {"residual", FLAT, {"--net, layer 1: '{' is missing: residual { LAYERS } [shortcut { LAYERS }]"}},
        {"residual relu", FLAT, {"--net, layer 1: 'residual' takes no words: residual { LAYERS }"}},
        {"residual 2 { relu }", FLAT, {"'residual' takes no words"}},
        {"residual { relu", FLAT, {"--net, layer 2: '}' is missing"}},
        {"residual { }", FLAT, {"--net, layer 1: a residual block without a layer"}},
        {"residual { relu } shortcut relu", FLAT, {"--net, layer 2: '{' is missing"}},
        {"residual { relu } shortcut { }", FLAT, {"--net, layer 2: a shortcut without a layer"}},
        {"residual { relu }, shortcut { relu }", FLAT, {"--net, layer 3: 'shortcut' belongs behind a block"}},
        {"shortcut { relu }", FLAT, {"--net, layer 1: 'shortcut' belongs behind a block"}},
        {"residual { relu } relu", FLAT, {"a comma or a line end is missing behind the block"}},
        {"residual { relu } { relu }", FLAT, {"'{' belongs behind 'residual' or 'shortcut'"}},
        {"residual{residual{residual{residual{residual{relu}}}}}",
         FLAT,
         {"layer 5", "at most 4 are allowed"}},
        {TEN BLOCK TEN BLOCK TEN BLOCK TEN BLOCK TEN "tanh }}}}",
         FLAT,
         {"blocks inside of one another: the names of their tensors would be too long"}},
        {"dense 3 "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaa",
         FLAT,
         {"--net, layer 1: a layer of 110 characters; at most 95 are allowed"}},
        {"relu 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", FLAT, {"--net, layer 1 (", "more than 16 words"}},
    };
    EXPECT_ERRORS(cases);
}

Test(net, says_which_word_of_a_layer_is_wrong)
{
    static const struct bad cases[] = {
        {"dense", FLAT, {"('dense'): 'dense' needs its number of outputs"}},
        {"dense 3 nobais", FLAT, {"'nobais' is no option of dense", "'nobias'"}},
        {"conv 3", RGB, {"'conv' needs its output channels and its window: conv N KHxKW"}},
        {"conv x 3x3", RGB, {"'x' is no number of output channels"}},
        {"conv 3 3y3", RGB, {"'3y3' is no window: allowed is HEIGHTxWIDTH"}},
        {"conv 3 3x", RGB, {"'3x' is no window"}},
        {"conv 3 0x3", RGB, {"'0x3' is no window", "from 1 to 65535"}},
        {"conv 3 3x3 stride 0", RGB, {"'0' is no stride"}},
        {"conv 3 3x3 stride", RGB, {"'stride' needs a number behind it"}},
        {"conv 3 3x3 pad -1", RGB, {"'-1' is no padding", "from 0"}},
        {"conv 3 3x3 pad", RGB, {"'pad' needs a number behind it"}},
        {"conv 3 3x3 groups", RGB, {"'groups' needs a number behind it"}},
        {"conv 3 3x3 groups 0", RGB, {"'0' is no number of groups"}},
        {"conv 3 3x3 groups 3 depthwise", RGB, {"give one of them"}},
        {"conv 3 3x3 dilation 2", RGB, {"'dilation' is no option of conv", "'depthwise'"}},
        {"maxpool", RGB, {"'maxpool' needs its window: maxpool KHxKW"}},
        {"avgpool 2x2 same", RGB, {"'same' is no option of avgpool"}},
        {"maxpool 3x3 pad same", RGB, {"'same' is no padding"}},
        {"globalavgpool 2x2", RGB, {"'globalavgpool' takes no words behind it"}},
        {"flatten 2", RGB, {"'flatten' takes no words"}},
        {"softmax 2", RGB, {"'softmax' takes no words"}},
        {"dropout", RGB, {"'dropout' needs one number"}},
        {"dropout 1", RGB, {"'1' is no share", "from 0 to below 1"}},
        {"dropout -0.1", RGB, {"'-0.1' is no share"}},
        {"dropout nan", RGB, {"'nan' is no share"}},
        {"batchnorm 0.1", RGB, {"'0.1' is no option of batchnorm", "'momentum', 'epsilon'"}},
        {"batchnorm momentum", RGB, {"'momentum' needs a number behind it"}},
        {"batchnorm epsilon 0", RGB, {"'0' is no epsilon"}},
        {"batchnorm momentum 2", RGB, {"'2' is no momentum of running averages"}},
        {"layernorm epsilon", RGB, {"'epsilon' needs a number behind it: layernorm [epsilon E]"}},
        {"layernorm 0.1", RGB, {"'0.1' is no option of layernorm"}},
        {"layernorm epsilon 0.1 x", RGB, {"'x' is no option of layernorm"}},
        {"leakyrelu -1", RGB, {"'-1' is no slope"}},
        {"leakyrelu 0.1 0.1", RGB, {"'0.1' behind the slope"}},
        {"gelu tanh", RGB, {"'gelu' takes no words behind it, found 'tanh'"}},
    };
    EXPECT_ERRORS(cases);
}

Test(net, says_which_shape_a_layer_got_and_which_it_needs)
{
    static const struct bad cases[] = {
        {"conv 3 3x3",
         FLAT,
         {"--net, layer 1 ('conv 3 3x3'): it needs an image, channels x height x width", "gets 12"}},
        {"dense 9, maxpool 2x2", FLAT, {"--net, layer 2 ('maxpool 2x2'): it needs an image", "gets 9"}},
        {"flatten, globalavgpool", RGB, {"--net, layer 2 ('globalavgpool')", "needs an image", "gets 264"}},
        {"conv 3 3x3, conv 3 12x3",
         RGB,
         {"--net, layer 2 ('conv 3 12x3'): its 12x3 window needs an input of at least 12x3", "gets 3x9x6"}},
        {"maxpool 2x9", RGB, {"2x9 window needs an input of at least 2x9", "gets 3x11x8"}},
        {"conv 3 12x3 pad 1x0, maxpool 3x3", RGB, {"layer 2", "at least 3x3", "gets 3x2x6"}},
        {"conv 4 3x3 groups 2", RGB, {"2 groups must divide the input channels, which are 3", "which are 4"}},
        {"conv 4 3x3 depthwise", RGB, {"3 groups must divide", "output channels, which are 4"}},
        {"conv 4 2x2 pad same", RGB, {"'pad same' needs an odd window, found 2x2"}},
        {"conv 4 3x3 pad 3",
         RGB,
         {"padding 3x3 would make windows of padding alone", "below the window's 3x3"}},
        {"maxpool 2x2 pad 2", RGB, {"padding 2x2 would make windows of padding alone"}},
        {"dense 9, residual { dense 8 }",
         FLAT,
         {"--net, layer 2 ('residual'): the block's layers give 8 and its shortcut 9, which cannot be "
          "added"}},
        {"residual { conv 3 3x3 }",
         RGB,
         {"give 3x9x6 and its shortcut 3x11x8", "shortcut { conv N 1x1 stride S }"}},
        {"residual { conv 4 1x1 } shortcut { conv 4 1x1 stride 2 }",
         RGB,
         {"give 4x11x8 and its shortcut 4x6x4"}},
        {"residual { residual { relu, dense 3 } }",
         FLAT,
         {"--net, layer 2 ('residual'): the block's layers give 3"}},
        {"conv 2147483647 1x1", RGB, {"an output of 2147483647x11x8 numbers a sample is too large"}},
        {"dense 2147483647, dense 2147483647", FLAT, {"more weights than memory can hold"}},
    };
    EXPECT_ERRORS(cases);
}

/* --- files --- */

static struct bad in_file(const struct place *place, const char *text, struct ls_shape in)
{
    write_file(place->path + 1, text, strlen(text));
    return (struct bad){.text = place->path, .in = in};
}

Test(net, reads_files_and_names_their_lines)
{
    const struct folder folder = folder_create();
    struct place place = in_folder(&folder, "net.txt");
    memmove(place.path + 1, place.path, sizeof place.path - 1);
    place.path[0] = '@';
    in_file(&place, "# two layers\n\ndense 3\n  relu # and\n", features(12));
    struct ls_net net = create(place.path, features(12));
    cr_expect_str_eq(net.text, "dense 3, relu");
    ls_net_release(&net);
    struct bad bad = in_file(&place, "dense 3\n\n# more\nrelu, dens 3\n", features(12));
    bad.parts[0] = "net.txt:4 ('dens 3'): unknown layer 'dens'";
    expect_error(&bad);
    bad = in_file(&place, "conv 4 3x3\nresidual {\n  conv 4 3x3\n  relu\n}\n", image(3, 8, 8));
    bad.parts[0] = "net.txt:2 ('residual'): the block's layers give 4x4x4 and its shortcut 4x6x6";
    expect_error(&bad);
    bad =
        in_file(&place, "conv 4 3x3\nresidual {\n  conv 4 3x3 pad same\n\n  conv 4 9x9\n}\n", image(3, 8, 8));
    bad.parts[0] = "net.txt:5 ('conv 4 9x9'): its 9x9 window needs an input of at least 9x9";
    expect_error(&bad);
    bad = in_file(&place, "relu\nresidual {\n  tanh\n", features(3));
    bad.parts[0] = "net.txt:4: '}' is missing";
    expect_error(&bad);
    bad = in_file(&place, "relu\n}\n", features(3));
    bad.parts[0] = "net.txt:2: '}' without a '{' before it";
    expect_error(&bad);
    bad = in_file(&place, "# none\n", features(3));
    bad.parts[0] = "no layer in '";
    expect_error(&bad);
    folder_destroy(&folder);
}

/* --- the graph --- */

static int count_kind(const struct ls_net *net, const struct ls_layer_kind *kind)
{
    int n = 0;
    for (int i = 0; i < net->n_layers; i++)
        n += net->layers[i].kind == kind;
    return n;
}

static void expect_reorders(const char *text, struct ls_shape in, int expected)
{
    struct ls_net net = create(text, in);
    const int found = count_kind(&net, &ls_layer_reorder);
    cr_expect(found == expected, "'%s' has %d reorders, not %d", text, found, expected);
    for (int i = 0; i < net.n_layers; i++)
        cr_expect(net.layers[i].place == i && net.layers[i].from < i && net.layers[i].also < i);
    ls_net_release(&net);
}

#define LENET_5 "conv 6 5x5 pad 2, relu, maxpool 2x2, conv 16 5x5, relu, maxpool 2x2, flatten, dense 10"

Test(net, reorders_only_where_the_order_matters)
{
    expect_reorders("dense 9, batchnorm, relu, dense 3, softmax", features(12), 0);
    expect_reorders(LENET_5, image(1, 28, 28), 1);
    expect_reorders(LENET_5, image(3, 28, 28), 2);
    expect_reorders("conv 4 3x3, globalavgpool, dense 3", image(1, 8, 8), 0);
    expect_reorders("conv 4 3x3, globalavgpool, dense 3", image(2, 8, 8), 1);
    expect_reorders("conv 4 8x8, flatten, dense 3", image(2, 8, 8), 1); /* one pixel is left */
    expect_reorders("conv 1 3x3, flatten, dense 3", image(2, 8, 8), 1); /* one channel is left */
    expect_reorders("dropout 0.1, relu, dense 3", image(2, 8, 8), 0);   /* any order will do */
    expect_reorders("conv 4 3x3", image(2, 8, 8), 2);                   /* what comes out is channels first */
    expect_reorders("conv 4 3x3, layernorm, conv 4 3x3, dense 3", image(2, 8, 8), 4);
    /* one value in another order for two takers, and for a block's two ends */
    expect_reorders("residual { conv 3 1x1 } shortcut { conv 3 1x1 }, globalavgpool", image(3, 8, 8), 1);
    expect_reorders("residual { conv 3 1x1 }, globalavgpool", image(3, 8, 8), 1);
    expect_reorders("residual { relu }, globalavgpool", image(3, 8, 8), 2);
    expect_reorders("residual { layernorm }, globalavgpool", image(3, 8, 8), 2);
}

/* The fused activations, as "KIND+ACTIVATION" or the kinds of activation layers that are left. */
static void expect_fused(const char *text, const char *expected)
{
    static const char *const names[] = {"", "relu", "tanh", "sigmoid"};
    struct ls_net net = create(text, image(2, 6, 6));
    char found[300] = "";
    for (int i = 0; i < net.n_layers; i++) {
        const struct ls_layer *layer = &net.layers[i];
        const size_t used = strlen(found);
        if (layer->kind->is_activation && !layer->skip)
            snprintf(found + used, sizeof found - used, " %s", layer->kind->name);
        else if (layer->kind->fuses_activation && layer->activation != LS_ACT_NONE)
            snprintf(found + used, sizeof found - used, " %s+%s", layer->kind->name,
                     names[layer->activation]);
    }
    cr_expect_str_eq(found, expected, "'%s' has '%s'", text, found);
    ls_net_release(&net);
}

Test(net, fuses_activations_where_nobody_else_looks)
{
    expect_fused("dense 3, relu", " dense+relu");
    expect_fused("conv 3 3x3, tanh, batchnorm, sigmoid, dense 3", " conv+tanh batchnorm+sigmoid");
    expect_fused("dense 3, relu, tanh", " dense+relu tanh");
    expect_fused("relu, dense 3", " relu");
    expect_fused("dense 3, dropout 0.1, relu", " relu");
    expect_fused("conv 3 3x3, maxpool 2x2, relu", " relu");
    expect_fused("conv 3 3x3, flatten, relu", " relu"); /* a reorder stands between */
    expect_fused("conv 3 6x6, flatten, relu", " conv+relu");
    expect_fused("dense 3, leakyrelu, dense 3, gelu, dense 3, softplus", "");
    expect_fused("conv 2 1x1, residual { conv 2 1x1 }, relu", " add+relu");
    /* a block's input has two takers */
    expect_fused("dense 3, residual { relu, dense 3 }", " relu");
    expect_fused("dense 3, residual { dense 3 } shortcut { relu }", " relu");
    expect_fused("dense 3, residual { relu }", " relu");
    expect_fused("dense 3, relu, residual { dense 3, relu }", " dense+relu dense+relu");
}

Test(net, knows_how_many_take_a_value)
{
    struct ls_net net = create("dense 72, residual { residual { dense 72 } }, relu", image(2, 6, 6));
    cr_assert(net.n_layers == 5 && net.layers[0].kind == &ls_layer_dense);
    cr_expect(net.layers[0].consumers == 3, "%d", net.layers[0].consumers);
    cr_expect(net.layers[4].skip && ls_net_value(&net, 4) == 3 &&
              ls_net_value(&net, LS_NET_INPUT) == LS_NET_INPUT);
    cr_expect_str_eq(net.layers[2].name, "1.main.0");
    ls_net_release(&net);
}

/* --- buffers --- */

/* Inference shares buffers that training keeps: the numbers must be the same. */
static void expect_same_inference(const char *text, struct ls_shape in)
{
    enum { B = 3 };
    struct ls_net net = create(text, in);
    const struct ls_init init = {.kind = LS_INIT_HE};
    float *parameters = calloc((size_t)net.n_floats, sizeof *parameters);
    ls_net_initialise(&net, &init, 5, parameters);
    struct ls_activations act[2];
    const float *z[2];
    for (int k = 0; k < 2; k++) {
        cr_assert(ls_activations_create(&act[k], &net, B, k, &err) == LS_OK);
        for (ptrdiff_t i = 0; i < B * in.count; i++)
            act[k].x[i] = ls_uniform(ls_random(2, LS_PURPOSE_SYNTHETIC, 0, (uint64_t)i).word[0]) - 0.5f;
        z[k] = ls_forward(&net, &ls_ops_serial, parameters, &act[k], B, NULL);
    }
    cr_expect(memcmp(z[0], z[1], (size_t)(B * net.out.count) * sizeof(float)) == 0, "'%s'", text);
    struct ls_activation_bytes bytes[2];
    for (int k = 0; k < 2; k++)
        cr_assert(ls_activations_bytes(&net, B, k, &bytes[k], &err) == LS_OK);
    cr_expect(bytes[0].gradients == 0 && bytes[0].outputs <= bytes[1].outputs, "'%s'", text);
    ls_activations_release(&act[0]);
    ls_activations_release(&act[1]);
    free(parameters);
    ls_net_release(&net);
}

Test(net, gives_the_same_with_few_buffers)
{
    const struct ls_shape rgb = image(3, 6, 6);
    expect_same_inference("conv 4 3x3, batchnorm, relu, conv 4 3x3, layernorm, gelu, dense 3, softmax", rgb);
    expect_same_inference("residual { conv 3 1x1, relu, conv 3 1x1 }, relu, residual { residual { tanh } }",
                          rgb);
    expect_same_inference(
        "residual { residual { dense 9, tanh, dense 9 } shortcut { dense 9 }, gelu, dense 9 } shortcut { "
        "dense 8, residual { softplus }, dense 9 }, relu, dropout 0.5, dense 2",
        rgb);
    expect_same_inference("conv 3 1x1, residual { residual { residual { residual { gelu } } } }, flatten",
                          rgb);
}

/* --- garbage --- */

/* Words of the language in any order: a net or a message, never anything else; a net reads back as itself. */
static int check_garbage(uint64_t seed, int n_words)
{
    static const char *const words[] = {"dense 3",
                                        "dense",
                                        "relu",
                                        "conv 3 1x1",
                                        "conv 4 3x3 pad same",
                                        "flatten",
                                        "gelu",
                                        "residual",
                                        "residual {",
                                        "{",
                                        "}",
                                        "shortcut",
                                        "} shortcut {",
                                        "}, ",
                                        ", ",
                                        ",",
                                        "\n",
                                        "# x\n",
                                        " ",
                                        "layernorm",
                                        "batchnorm",
                                        "maxpool 2",
                                        "globalavgpool",
                                        "pad",
                                        "3",
                                        "@",
                                        "residual { tanh",
                                        "dropout 0.1",
                                        "\t",
                                        "x"};
    enum { N_WORDS = sizeof words / sizeof words[0] };
    char text[1000] = "";
    for (int i = 0; i < n_words; i++)
        strcat(text, words[ls_random(seed, LS_PURPOSE_SYNTHETIC, 1, (uint64_t)i).word[0] % N_WORDS]);
    struct ls_net net, again;
    struct ls_error found = {.code = LS_OK};
    const int valid = ls_net_create(&net, text, image(3, 6, 5), &found) == LS_OK;
    if (!valid) {
        cr_assert(found.code == LS_USAGE && *found.text, "'%s' gave %d '%s'", text, (int)found.code,
                  found.text);
    } else {
        cr_assert(ls_net_create(&again, net.text, image(3, 6, 5), &found) == LS_OK, "'%s' from '%s': %s",
                  net.text, text, found.text);
        cr_assert_str_eq(net.text, again.text);
        cr_assert(net.n_floats == again.n_floats && net.n_layers == again.n_layers &&
                  ls_shape_equal(&net.out, &again.out));
        ls_net_release(&again);
    }
    ls_net_release(&net);
    return valid;
}

Test(net, survives_garbage, .timeout = 60)
{
    int n_valid = 0;
    for (uint64_t seed = 0; seed < 40000; seed++)
        n_valid += check_garbage(seed, 1 + (int)(seed % 17));
    cr_assert(n_valid > 1000, "only %d texts were nets", n_valid);
}
