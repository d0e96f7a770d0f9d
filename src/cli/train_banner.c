/* Owns what a run says of itself before it starts. */
#include "cli/train_banner.h"

#include <string.h>

#include "base/text.h"
#include "cli/input_options.h"
#include "cli/optimizer_options.h"

static void print_data(const struct ls_train_report *report)
{
    const struct ls_dataset *train = &report->data->train;
    const struct ls_shape shape = ls_shape_of(train->n_dims, train->dims);
    const int64_t validation = report->data->validation.n_samples;
    char n_train[32], n_validation[32], n_test[32], dims[100];
    printf("data    %s: %s training", train->name, ls_text_grouped(train->n_samples, n_train));
    if (validation > 0)
        printf(" + %s validation", ls_text_grouped(validation, n_validation));
    printf(" + %s test samples of %s", ls_text_grouped(report->data->test.n_samples, n_test),
           ls_shape_format(&shape, dims, sizeof dims));
    if (ls_loss_takes_labels(&report->config->loss, train))
        printf(", %d classes\n", train->n_classes);
    else
        printf(", %td target value%s\n", train->n_values, train->n_values == 1 ? "" : "s");
    char list[300];
    const struct ls_class_names *classes = &report->data->classes;
    if (classes->n > 0 || *report->data->how)
        printf("        %s%s%s\n", report->data->how,
               classes->n > 0 && *report->data->how ? "; classes " : "",
               ls_class_names_list(classes, list, sizeof list));
}

/* A net of more layers than this is named, not listed. */
enum { LISTED_LAYERS = 12, LISTED_TEXT = 300 };

static void print_net(const struct ls_net *net)
{
    char parameters[32], in[100], out[100];
    const int cut = strlen(net->text) > LISTED_TEXT;
    printf("net     %.*s%s: %s parameters\n", LISTED_TEXT, net->text, cut ? " ..." : "",
           ls_text_grouped(net->n_parameters, parameters));
    if (net->n_layers > LISTED_LAYERS) {
        printf("        %d layers, which 'lockstep info --net' lists; %s -> %s\n", net->n_layers,
               ls_shape_format(&net->in, in, sizeof in), ls_shape_format(&net->out, out, sizeof out));
        return;
    }
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        ptrdiff_t n = 0;
        for (int t = 0; t < layer->n_tensors; t++)
            n += net->tensors[layer->first_tensor + t].is_state ? 0
                                                                : net->tensors[layer->first_tensor + t].count;
        if (!*layer->name)
            continue; /* an order in memory, no layer of the user's */
        printf("        %2s  %-18s %9s -> %-9s", layer->name, layer->text,
               ls_shape_format(&layer->in, in, sizeof in), ls_shape_format(&layer->out, out, sizeof out));
        if (n)
            printf(" %12s parameters", ls_text_grouped(n, parameters));
        printf("\n");
    }
}

static void print_update(const struct ls_train_report *report)
{
    const struct ls_train_config *c = &report->config[0];
    char number[LS_FLOAT_TEXT];
    printf("loss    %s", ls_loss_titles[c->loss.kind]);
    if (c->loss.smoothing != 0.0f)
        printf(", label smoothing %s", ls_text_of_float(c->loss.smoothing, number));
    if (c->loss.kind == LS_LOSS_HUBER)
        printf(", delta %s", ls_text_of_float(c->loss.delta, number));
    printf("%s, mean over the batch\n", c->loss.class_weights ? ", class weights" : "");
    char update[LS_UPDATE_TEXT], trials[32];
    if (report->trials > 0) {
        printf("update  none: random search, the best of %s random weights; init %s, seed %llu\n",
               ls_text_grouped(report->trials, trials), report->init_text, (unsigned long long)c->seed);
        return;
    }
    printf("update  %s", ls_optimizer_describe(c, update));
    printf("; init %s, seed %llu, %s\n", report->init_text, (unsigned long long)c->seed,
           c->shuffle == LS_SHUFFLE_BLOCKS ? "shuffled in blocks"
           : c->shuffle                    ? "shuffled"
                                           : "in file order");
}

static void print_batch(const struct ls_train_report *report)
{
    const struct ls_train_config *c = report->config;
    const int64_t n = report->data->train.n_samples,
                  whole = c->batch * (c->accumulate > 1 ? c->accumulate : 1);
    char batch[32], per_epoch[32];
    printf("batch   B = %s in %lld leaves of m = %lld", ls_text_grouped(c->batch, batch),
           (long long)ls_count_leaves(c->batch, c->microbatch), (long long)c->microbatch);
    if (c->accumulate > 1)
        printf(", %lld batches an update", (long long)c->accumulate);
    printf("; %s steps an epoch", ls_text_grouped(ls_updates_per_epoch(n, whole, c->drop_last), per_epoch));
    if (!c->drop_last && n % whole)
        printf(" (the last of %lld samples)", (long long)(n % whole));
    printf("\n");
}

static void print_machine(const struct ls_train_report *report)
{
    const struct ls_session *s = report->session;
    const int ranks = ls_comm_size(s->comm);
    char cores[LS_SESSION_CORES];
    printf("run     %d rank%s x %d thread%s, %s; rank 0 on %s, %s", ranks, ranks == 1 ? "" : "s", s->threads,
           s->threads == 1 ? "" : "s", s->ops->name, ls_comm_host(s->comm), ls_session_cores(s, cores));
    if (ranks > 1)
        printf("; %s, %s allreduce", ls_comm_library(s->comm),
               report->config->allreduce == LS_ALLREDUCE_TREE ? "tree" : "mpi");
    if (ranks > 1 && report->config->shard_optimizer)
        printf("; each updates 1/%d of the parameters", ranks);
    printf("\n");
}

void ls_train_banner(const struct ls_train_report *report)
{
    print_data(report);
    ls_input_print(&report->data->train, &report->config->augment);
    print_net(report->net);
    print_update(report);
    if (report->trials == 0)
        print_batch(report);
    print_machine(report);
    printf("\n");
    fflush(stdout);
}
