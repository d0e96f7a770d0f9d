/* The options of checkpoints: where, how often, how many; and which to go on from. */
#ifndef LS_CLI_CHECKPOINT_OPTIONS_H
#define LS_CLI_CHECKPOINT_OPTIONS_H

#include "cli/options.h"
#include "train/checkpoint.h"

struct ls_checkpoint_options {
    const char *folder, *every, *resume;
    int64_t keep;
    int with_changes;
};

/* Fills in folder, every_steps, every_s and keep.  Without --checkpoint a resumed run goes on in its folder.
 */
enum ls_code ls_checkpoint_options_apply(const struct ls_checkpoint_options *options,
                                         struct ls_checkpoint_rule *rule, struct ls_error *err);

extern const char ls_checkpoint_help[], ls_checkpoint_every_help[], ls_resume_help[],
    ls_resume_with_changes_help[];

#define LS_CHECKPOINT_OPTIONS(o)                                                                             \
    {                                                                                                        \
        "checkpoint",                                                                                        \
        "DIR",                                                                                               \
        LS_OPTION_TEXT,                                                                                      \
        &(o)->folder,                                                                                        \
        ls_checkpoint_help,                                                                                  \
        "that of --resume, or none",                                                                         \
        0,                                                                                                   \
        0,                                                                                                   \
        NULL,                                                                                                \
        NULL},                                                                                               \
        {"checkpoint-every",                                                                                 \
         "N[steps|minutes]",                                                                                 \
         LS_OPTION_TEXT,                                                                                     \
         &(o)->every,                                                                                        \
         ls_checkpoint_every_help,                                                                           \
         "10minutes",                                                                                        \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"keep-checkpoints",                                                                                 \
         "K",                                                                                                \
         LS_OPTION_INT,                                                                                      \
         &(o)->keep,                                                                                         \
         "how many of them stay; --keep K is the same",                                                      \
         "2",                                                                                                \
         1,                                                                                                  \
         1e6,                                                                                                \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"resume", "DIR", LS_OPTION_TEXT, &(o)->resume, ls_resume_help, "from the beginning",                \
         0,        0,     NULL,           NULL},                                                             \
    {                                                                                                        \
        "resume-with-changes", NULL, LS_OPTION_FLAG, &(o)->with_changes, ls_resume_with_changes_help, NULL,  \
            0, 0, NULL, NULL                                                                                 \
    }

#endif
