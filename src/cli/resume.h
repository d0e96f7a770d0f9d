/* A run that goes on from a checkpoint: which one, with which options, and what may change on the way. */
#ifndef LS_CLI_RESUME_H
#define LS_CLI_RESUME_H

#include "cli/options.h"
#include "comm/comm.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

/* The options of a run as a checkpoint carries them: metadata option.NAME, of those that were given another
 * value than their default, and that belong to the run more than to the machine. */
struct ls_configuration {
    ptrdiff_t n;
    struct ls_metadata metadata[LS_MOST_OPTIONS + 1]; /* and the data's hash */
    char keys[LS_MOST_OPTIONS][48];
    struct ls_option_values values; /* as they are now: what the metadata point to */
    char data_hash[LS_HASH_TEXT];
};

/* Records configuration->values where they are not `defaults`. */
void ls_configuration_record(struct ls_configuration *configuration, const struct ls_option_values *defaults);
void ls_configuration_add_data(struct ls_configuration *configuration, struct ls_hash hash);

/* Collective.  Opens the newest whole checkpoint of the folder on every rank; rank 0 chooses and says which
 * ones it passed over.  When there is none and `may_begin`, source->file stays NULL.  *last is the step of
 * the newest file, whole or not (rank 0). */
enum ls_code ls_resume_choose(struct ls_checkpoint_source *source, const char *folder, int may_begin,
                              int64_t *last, struct ls_comm *comm, struct ls_error *err);

/* Sets the options that the checkpoint carries. */
enum ls_code ls_resume_set_options(const struct ls_command_line *line,
                                   const struct ls_checkpoint_source *source, struct ls_error *err);

/* Refuses, by name and with both values, an option that would change the result.  --data, --net, --epochs and
 * --steps are not looked at, nor what ls_resume_check_meaning judges: that is known only later. */
enum ls_code ls_resume_check_options(const struct ls_option_values *stored,
                                     const struct ls_option_values *now, struct ls_error *err);

/* Whether what stands under the key is this text; else refused as `what`. */
enum ls_code ls_resume_check_text(const struct ls_checkpoint_source *source, const char *key,
                                  const char *what, const char *now, struct ls_error *err);

/* The same of the data, by the hash of all samples. */
enum ls_code ls_resume_check_data(const struct ls_checkpoint_source *source, const char *hash,
                                  struct ls_error *err);

/* Refuses an end that is before the checkpoint, whatever else may change: a run that was over before it began
 * could not be resumed again.  Local. */
enum ls_code ls_resume_check_end(const struct ls_checkpoint_source *source, const struct ls_train_config *now,
                                 struct ls_error *err);

/* Refuses, as an option and with both values, what the configuration comes to when the checkpoint's came to
 * something else: of options whose texts may differ and mean the same, and of defaults. */
enum ls_code ls_resume_check_meaning(const struct ls_checkpoint_source *source,
                                     const struct ls_model_facts *facts, const struct ls_loss_rule *loss,
                                     struct ls_error *err);

#endif
