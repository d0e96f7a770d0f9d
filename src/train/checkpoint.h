/* Checkpoints: a run between two updates, in a sealed safetensors file that can be resumed on any ranks,
 * threads and ISA with the bits of the run that was never interrupted.
 *
 * A checkpoint is the model of its step (`lockstep eval` and PyTorch open it as one) and beside it, named
 * state.*, everything else that the run's future depends on: optimizer state, averages, the model to fall
 * back to, sums of losses under way, where in the epoch it is, what schedules and stopping rules remember,
 * and the configuration. No rank, thread, host or time is in it, so the same run writes the same files. */
#ifndef LS_TRAIN_CHECKPOINT_H
#define LS_TRAIN_CHECKPOINT_H

#include "train/checkpoint_folder.h"
#include "train/model_file.h"

/* When and where a run writes checkpoints; the same on all ranks. */
struct ls_checkpoint_rule {
    const char *folder;                 /* opened by rank 0 (checkpoint_folder.h); NULL: none are written */
    int64_t every_steps;                /* 0: not by steps */
    double every_s;                     /* by rank 0's clock; 0: not by time */
    int64_t keep;                       /* so many stay, at least 1 */
    const struct ls_model_facts *facts; /* rank 0: for the model's metadata */
    const struct ls_metadata *metadata; /* rank 0: the configuration, for who resumes */
    ptrdiff_t n_metadata;
};

/* A checkpoint to go on from. */
struct ls_checkpoint_source {
    struct ls_checkpoint_path path;
    struct ls_safetensors *file; /* NULL: a run from the beginning */
    struct ls_hash checksum;     /* of all of it */
    int64_t step, epoch;
    int with_changes; /* the configuration may be another: state that is missing starts anew */
};

/* Opens the checkpoint of a step after checking its seal and its versions.  Local.  Release with
 * ls_checkpoint_source_release, also after failure. */
enum ls_code ls_checkpoint_source_open(struct ls_checkpoint_source *source, const char *folder, int64_t step,
                                       struct ls_error *err);
void ls_checkpoint_source_release(struct ls_checkpoint_source *source);

#endif
