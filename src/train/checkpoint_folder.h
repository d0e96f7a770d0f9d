/* A folder of checkpoints: DIR/checkpoint-000000000500.safetensors is the run after its update 500.
 *
 * One run at a time writes into a folder, which a lock sees to; what a killed run left half written is never
 * under such a name (savefile.h).  Any file may still be damaged, so whoever resumes takes the newest whose
 * seal is right. */
#ifndef LS_TRAIN_CHECKPOINT_FOLDER_H
#define LS_TRAIN_CHECKPOINT_FOLDER_H

#include <limits.h>

#include "formats/safetensors.h"

struct ls_checkpoint_path {
    char text[PATH_MAX];
};

/* The name of the checkpoint of a step; too long a folder is cut, and then cannot be opened. */
struct ls_checkpoint_path ls_checkpoint_path(const char *folder, int64_t step);

/* The folder as the one that writes there has it.  Local: rank 0. */
struct ls_checkpoint_folder {
    int is_open, lock; /* lock: a descriptor, or -1 */
};

/* Makes the folder when there is none, takes its lock, sees that files can be made there, and removes what a
 * killed run left half written.  Fails when another run holds the lock.  Release with
 * ls_checkpoint_folder_close, also after failure. */
enum ls_code ls_checkpoint_folder_open(struct ls_checkpoint_folder *folder, const char *path,
                                       struct ls_error *err);
void ls_checkpoint_folder_close(struct ls_checkpoint_folder *folder);

/* Removes all checkpoints but the newest `keep` of those up to `step`: later ones are damaged, or a run that
 * resumed before them could not have passed them over.  What cannot be removed stays. */
void ls_checkpoint_folder_prune(const char *path, int64_t step, int64_t keep);

/* The step of the newest file by name, whole or not; 0: there is none, or no such folder. */
enum ls_code ls_checkpoint_folder_last(const char *path, int64_t *step, struct ls_error *err);

/* The step of the newest whole checkpoint; 0: no file, or no such folder.  skipped(context, why) is called
 * for each newer one that is damaged.  Fails when there are files and none is whole.  Local. */
enum ls_code ls_checkpoint_folder_newest(const char *path, int64_t *step,
                                         void (*skipped)(void *context, const char *why), void *context,
                                         struct ls_error *err);

#endif
