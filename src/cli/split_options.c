/* Owns the words of --split. */
#include "cli/split_options.h"

#include <string.h>

#include "base/text.h"

enum ls_code ls_split_options_read(struct ls_split *split, const struct ls_split_options *options,
                                   uint64_t seed, int folds, struct ls_error *err)
{
    *split = (struct ls_split){.n_parts = 0};
    if (!options->split && !folds && (options->seed || options->stratify))
        return ls_fail(err, LS_USAGE, "--%s means nothing without --split or --folds: give one of them",
                       options->seed ? "split-seed" : "stratify");
    const enum ls_code code = options->split ? ls_split_parse(split, options->split, err) : LS_OK;
    if (code != LS_OK)
        return code;
    split->seed = seed; /* of folds, too */
    split->stratify = options->stratify;
    if (options->seed && !ls_text_to_uint64(options->seed, &split->seed))
        return ls_fail(err, LS_USAGE, "--split-seed %.40s: allowed are whole numbers from 0 to 2^64 - 1",
                       options->seed);
    return LS_OK;
}

void ls_split_facts(const struct ls_split *split, struct ls_hash data_hash, struct ls_model_facts *facts)
{
    char hash[LS_HASH_TEXT];
    if (split->n_parts == 0)
        return;
    ls_hash_text(data_hash, hash);
    ls_model_facts_add(facts, "split", "%s", split->text);
    ls_model_facts_add(facts, "split_seed", "%llu", (unsigned long long)split->seed);
    ls_model_facts_add(facts, "stratify", "%s", split->stratify ? "yes" : "no");
    ls_model_facts_add(facts, "split_data_hash", "%s", hash);
}

/* What the model says of its split; n_parts == 0 when it says nothing. */
static enum ls_code read_facts(struct ls_split *split, const struct ls_safetensors *file, const char *path,
                               struct ls_error *err)
{
    const char *text = ls_safetensors_metadata(file, "split");
    const char *seed = ls_safetensors_metadata(file, "split_seed");
    const char *stratify = ls_safetensors_metadata(file, "stratify");
    struct ls_error inner = {.code = LS_OK};
    *split = (struct ls_split){.n_parts = 0};
    if (!text)
        return LS_OK;
    if (ls_split_parse(split, text, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' holds a split that cannot be read: %.700s", path, inner.text);
    if (!seed || !ls_text_to_uint64(seed, &split->seed))
        return ls_fail(err, LS_FAILED, "'%s': the split_seed '%.40s' is no whole number", path,
                       seed ? seed : "");
    split->stratify = stratify && strcmp(stratify, "yes") == 0;
    return LS_OK;
}

enum ls_code ls_split_as_model(const struct ls_safetensors *file, const char *path, struct ls_data *data,
                               struct ls_split *split, struct ls_error *err)
{
    const char *hash_text = ls_safetensors_metadata(file, "split_data_hash");
    struct ls_hash trained_on;
    const enum ls_code code = read_facts(split, file, path, err);
    if (code != LS_OK || split->n_parts == 0)
        return code;
    if (!hash_text || !ls_hash_parse(hash_text, &trained_on))
        return ls_fail(err, LS_FAILED, "'%s': the split_data_hash '%.40s' is no hash", path,
                       hash_text ? hash_text : "");
    if (!ls_hash_equal(ls_dataset_hash(&data->train), trained_on)) {
        split->n_parts = 0;
        return LS_OK;
    }
    struct ls_error inner = {.code = LS_OK};
    if (ls_data_split(data, split, &inner) != LS_OK)
        return ls_fail(err, LS_FAILED, "'%s' holds a split that its data cannot have: %.700s", path,
                       inner.text);
    return LS_OK;
}
