/* Owns which option goes with which optimizer. */
#include "cli/optimizer_options.h"

#include <string.h>

#include "base/text.h"

const char *const ls_off_on[] = {"off", "on", NULL};

const char *const ls_method_names[] = {"sgd",  "adagrad", "rmsprop",       "adam", "adamw",
                                       "lars", "lamb",    "random-search", NULL};
_Static_assert(sizeof ls_method_names / sizeof ls_method_names[0] == LS_RANDOM_SEARCH + 2,
               "the optimizers, in the order of their enum, and random search");

enum {
    SGD = 1 << LS_SGD,
    ADAGRAD = 1 << LS_ADAGRAD,
    RMSPROP = 1 << LS_RMSPROP,
    ADAMS = 1 << LS_ADAM | 1 << LS_ADAMW,
    LARS = 1 << LS_LARS,
    LAMB = 1 << LS_LAMB,
    ALL = (1 << (LS_LAMB + 1)) - 1,
    SEARCH = 1 << LS_RANDOM_SEARCH
};

/* A number of the rule: where an option of that name puts it, and whose it is. */
struct number {
    const char *name;
    size_t given, target; /* in struct ls_optimizer_options and struct ls_optimizer_rule */
    int owners;
};

#define OPTION(field) offsetof(struct ls_optimizer_options, field)
#define RULE(field) offsetof(struct ls_optimizer_rule, field)

static const struct number numbers[] = {
    {"lr", OPTION(learning_rate), RULE(learning_rate), ALL},
    {"momentum", OPTION(momentum), RULE(momentum), SGD | RMSPROP | LARS},
    {"weight-decay", OPTION(weight_decay), RULE(weight_decay), ALL},
    {"beta1", OPTION(beta1), RULE(beta1), ADAMS | LAMB},
    {"beta2", OPTION(beta2), RULE(beta2), ADAMS | LAMB},
    {"alpha", OPTION(alpha), RULE(alpha), RMSPROP},
    {"epsilon", OPTION(epsilon), RULE(epsilon), ADAGRAD | RMSPROP | ADAMS | LAMB},
    {"trust", OPTION(trust), RULE(trust), LARS},
    {"clip-norm", OPTION(clip_norm), RULE(clip_norm), ALL},
    {"clip-value", OPTION(clip_value), RULE(clip_value), ALL & ~LARS},
};

enum { N_NUMBERS = sizeof numbers / sizeof numbers[0] };

int64_t ls_trials(const struct ls_optimizer_options *options)
{
    return options->trials > 0 ? options->trials : 100;
}

static float at(const void *from, size_t offset)
{
    float value;
    memcpy(&value, (const char *)from + offset, sizeof value);
    return value;
}

static enum ls_code not_this(int kind, const char *option, int owners, struct ls_error *err)
{
    const char *names[LS_RANDOM_SEARCH + 2] = {NULL};
    char list[100];
    int n = 0;
    for (int i = 0; ls_method_names[i]; i++)
        if (owners & 1 << i)
            names[n++] = ls_method_names[i];
    return ls_fail(err, LS_USAGE, "--%s means nothing to --optimizer %s: it is an option of %s", option,
                   ls_method_names[kind], ls_text_join(names, list, sizeof list));
}

static enum ls_code fill_rule(const struct ls_optimizer_options *o, struct ls_optimizer_rule *rule,
                              struct ls_error *err)
{
    const int mine = 1 << o->optimizer;
    *rule = ls_optimizer_defaults((enum ls_optimizer_kind)o->optimizer);
    if (o->trials > 0)
        return not_this(o->optimizer, "trials", SEARCH, err);
    for (int i = 0; i < N_NUMBERS; i++) {
        const float value = at(o, numbers[i].given);
        if (value != value)
            continue;
        if (!(numbers[i].owners & mine))
            return not_this(o->optimizer, numbers[i].name, numbers[i].owners, err);
        memcpy((char *)rule + numbers[i].target, &value, sizeof value);
    }
    if (o->nesterov && !(SGD & mine))
        return not_this(o->optimizer, "nesterov", SGD, err);
    if (o->nesterov && rule->momentum == 0.0f)
        return ls_fail(err, LS_USAGE, "--nesterov needs --momentum above 0");
    if (o->decoupled_decay && ((LARS | LAMB) & mine))
        return not_this(o->optimizer, "decoupled-decay", ALL & ~(LARS | LAMB), err);
    if (o->trust_skips_vectors >= 0 && !((LARS | LAMB) & mine))
        return not_this(o->optimizer, "trust-skips-vectors", LARS | LAMB, err);
    if ((o->decoupled_decay || o->decay_skips_vectors) && rule->weight_decay == 0.0f)
        return ls_fail(err, LS_USAGE, "--%s needs --weight-decay above 0",
                       o->decoupled_decay ? "decoupled-decay" : "decay-skips-vectors");
    rule->nesterov = o->nesterov;
    rule->decoupled = rule->decoupled || o->decoupled_decay;
    rule->decay_skips_vectors = o->decay_skips_vectors;
    if (o->trust_skips_vectors >= 0)
        rule->trust_skips_vectors = o->trust_skips_vectors;
    return LS_OK;
}

/* Random search has no update, so no option of one. */
static enum ls_code refuse_updates(const struct ls_optimizer_options *o, struct ls_error *err)
{
    for (int i = 0; i < N_NUMBERS; i++) {
        const float value = at(o, numbers[i].given);
        if (value == value)
            return not_this(o->optimizer, numbers[i].name, numbers[i].owners, err);
    }
    const struct {
        const char *name;
        int given, owners;
    } others[] = {
        {"nesterov", o->nesterov, SGD},
        {"decoupled-decay", o->decoupled_decay, ALL & ~(LARS | LAMB)},
        {"decay-skips-vectors", o->decay_skips_vectors, ALL},
        {"trust-skips-vectors", o->trust_skips_vectors >= 0, LARS | LAMB},
        {"ema", o->ema == o->ema, ALL},
        {"schedule", o->schedule != NULL, ALL},
        {"warmup", o->warmup != NULL, ALL},
        {"scale-lr-to", o->scale_lr_to > 0, ALL},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].given)
            return not_this(o->optimizer, others[i].name, others[i].owners, err);
    return LS_OK;
}

static enum ls_code prefixed(const char *option, const struct ls_error *why, struct ls_error *err)
{
    return ls_fail(err, LS_USAGE, "--%s: %.900s", option, why->text);
}

enum ls_code ls_optimizer_options_apply(const struct ls_optimizer_options *options,
                                        struct ls_train_config *config, struct ls_error *err)
{
    struct ls_error why = {.code = LS_OK};
    config->schedule = (struct ls_schedule){.kind = LS_SCHEDULE_CONSTANT};
    if (options->optimizer == LS_RANDOM_SEARCH)
        return refuse_updates(options, err);
    const enum ls_code code = fill_rule(options, &config->optimizer, err);
    if (code != LS_OK)
        return code;
    if (options->schedule && ls_schedule_parse(&config->schedule, options->schedule, &why) != LS_OK)
        return prefixed("schedule", &why, err);
    if (options->warmup && ls_span_parse(&config->schedule.warmup, options->warmup, &why) != LS_OK)
        return prefixed("warmup", &why, err);
    if (options->scale_lr_to > 0)
        config->optimizer.learning_rate = ls_scaled_rate(
            config->optimizer.learning_rate, config->batch * config->accumulate, options->scale_lr_to);
    config->ema = options->ema != options->ema ? 0.0f : options->ema;
    return LS_OK;
}

static void add_number(struct ls_model_facts *facts, const char *key, float value)
{
    char number[LS_FLOAT_TEXT];
    ls_model_facts_add(facts, key, "%s", ls_text_of_float(value, number));
}

/* The numbers that an optimizer has, and of those that all have what was asked for. */
static void add_numbers(const struct ls_optimizer_rule *rule, struct ls_model_facts *facts)
{
    for (int i = 0; i < N_NUMBERS; i++) {
        const int limit = strncmp(numbers[i].name, "clip", 4) == 0;
        const float value = at(rule, numbers[i].target);
        char key[32] = "";
        if (!(numbers[i].owners & 1 << rule->kind) || (limit && value == 0.0f))
            continue;
        for (int c = 0; numbers[i].name[c]; c++)
            key[c] = numbers[i].name[c] == '-' ? '_' : numbers[i].name[c];
        add_number(facts, strcmp(key, "lr") == 0 ? "learning_rate" : key, value);
        if (rule->kind == LS_SGD && strcmp(key, "momentum") == 0)
            ls_model_facts_add(facts, "nesterov", "%s", rule->nesterov ? "yes" : "no");
    }
    if (rule->decoupled)
        ls_model_facts_add(facts, "decoupled_decay", "yes");
    if (rule->decay_skips_vectors)
        ls_model_facts_add(facts, "decay_skips_vectors", "yes");
    if (rule->kind == LS_LARS || rule->kind == LS_LAMB)
        ls_model_facts_add(facts, "trust_skips_vectors", "%s", rule->trust_skips_vectors ? "yes" : "no");
}

void ls_optimizer_facts(const struct ls_optimizer_options *options, const struct ls_train_config *config,
                        struct ls_model_facts *facts)
{
    char schedule[LS_SCHEDULE_TEXT], warmup[LS_SPAN_TEXT];
    if (options->optimizer == LS_RANDOM_SEARCH) {
        ls_model_facts_add(facts, "optimizer", "random-search");
        ls_model_facts_add(facts, "trials", "%lld", (long long)ls_trials(options));
        return;
    }
    ls_model_facts_add(facts, "optimizer", "%s", ls_optimizer_names[config->optimizer.kind]);
    add_numbers(&config->optimizer, facts);
    if (options->scale_lr_to > 0)
        ls_model_facts_add(facts, "scaled_lr_from_batch", "%lld", (long long)options->scale_lr_to);
    if (config->schedule.kind != LS_SCHEDULE_CONSTANT)
        ls_model_facts_add(facts, "schedule", "%s", ls_schedule_format(&config->schedule, schedule));
    if (config->schedule.warmup.length > 0.0f)
        ls_model_facts_add(facts, "warmup", "%s", ls_span_format(config->schedule.warmup, warmup));
    if (options->ema == options->ema)
        add_number(facts, "ema", config->ema);
}

static void append(char *text, size_t *used, const char *before, const char *what)
{
    if (*used < LS_UPDATE_TEXT)
        *used += (size_t)snprintf(text + *used, LS_UPDATE_TEXT - *used, "%s%s", before, what);
}

const char *ls_optimizer_describe(const struct ls_train_config *config, char text[LS_UPDATE_TEXT])
{
    static const char *const titles[] = {"SGD", "AdaGrad", "RMSProp", "Adam", "AdamW", "LARS", "LAMB"};
    const struct ls_optimizer_rule *rule = &config->optimizer;
    char number[LS_FLOAT_TEXT], schedule[LS_SCHEDULE_TEXT];
    size_t used = 0;
    append(text, &used, titles[rule->kind], ", learning rate ");
    append(text, &used, "", ls_text_of_float(rule->learning_rate, number));
    if (rule->momentum != 0.0f)
        append(text, &used, rule->nesterov ? ", Nesterov momentum " : ", momentum ",
               ls_text_of_float(rule->momentum, number));
    if (rule->weight_decay != 0.0f)
        append(text, &used, rule->decoupled ? ", decoupled weight decay " : ", weight decay ",
               ls_text_of_float(rule->weight_decay, number));
    if (rule->weight_decay != 0.0f && rule->decay_skips_vectors)
        append(text, &used, "", " of weights only");
    if (rule->clip_norm > 0.0f)
        append(text, &used, ", gradient norm clipped at ", ls_text_of_float(rule->clip_norm, number));
    if (rule->clip_value > 0.0f)
        append(text, &used, ", gradients clipped at ", ls_text_of_float(rule->clip_value, number));
    if (config->schedule.kind != LS_SCHEDULE_CONSTANT)
        append(text, &used, "; ", ls_schedule_format(&config->schedule, schedule));
    if (config->schedule.warmup.length > 0.0f) {
        append(text, &used, "; warm-up over ", ls_text_of_float(config->schedule.warmup.length, number));
        append(text, &used, "", config->schedule.warmup.in_updates ? " updates" : " epochs");
    }
    if (config->ema > 0.0f)
        append(text, &used, "; averaged weights, decay ", ls_text_of_float(config->ema, number));
    return text;
}

const char *ls_optimizer_exact_text(const struct ls_train_config *config, char text[LS_UPDATE_TEXT])
{
    const struct ls_optimizer_rule *rule = &config->optimizer;
    char schedule[LS_SCHEDULE_TEXT], span[LS_SPAN_TEXT];
    int used =
        snprintf(text, LS_UPDATE_TEXT, "%d %d %d %d %d %a", (int)rule->kind, rule->nesterov, rule->decoupled,
                 rule->decay_skips_vectors, rule->trust_skips_vectors, (double)config->ema);
    for (int i = 0; i < N_NUMBERS; i++)
        used += snprintf(text + used, (size_t)(LS_UPDATE_TEXT - used), " %a",
                         (double)at(rule, numbers[i].target));
    snprintf(text + used, (size_t)(LS_UPDATE_TEXT - used), " %s %s",
             ls_schedule_format(&config->schedule, schedule), ls_span_format(config->schedule.warmup, span));
    return text;
}
