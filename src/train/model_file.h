/* A model as a file: a net, its parameters, and what they were trained for, as safetensors.
 *
 * Tensors are named and oriented as PyTorch's nn.Sequential has them; the metadata says the rest.  Nothing
 * about ranks, threads or time is in it, so the same run gives the same file, byte for byte. */
#ifndef LS_TRAIN_MODEL_FILE_H
#define LS_TRAIN_MODEL_FILE_H

#include "base/hash.h"
#include "data/class_names.h"
#include "data/features.h"
#include "formats/safetensors.h"
#include "model/net.h"
#include "train/loss_rule.h"

enum { LS_MODEL_FACTS = 48, LS_MODEL_LONG_FACTS = 6 };

/* "How it was trained": metadata beyond what a model needs, as key and text, e.g. {"learning_rate", "0.05"}.
 */
struct ls_model_facts {
    int n, n_long;
    struct ls_metadata long_fact[LS_MODEL_LONG_FACTS]; /* texts of any length; whoever adds them keeps them */
    struct {
        char key[32];
        char text[600];
    } fact[LS_MODEL_FACTS];
};

/* Adds a fact; a text that is too long is cut, a fact too many is a programmer's error. */
void ls_model_facts_add(struct ls_model_facts *facts, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a fact as long as may be, such as a number for each feature; a file gets it, a log or a screen does
 * not.  `text` must live as long as the facts. */
void ls_model_facts_add_long(struct ls_model_facts *facts, const char *key, const char *text);

/* Of all that is said, without fact `but` (-1: none): for ranks to see that they say the same. */
struct ls_hash ls_model_facts_hash(const struct ls_model_facts *facts, int but);

/* Local: one rank calls it.  Crash-safe: an existing file stays as it is until the new one is whole. */
enum ls_code ls_model_save(const char *path, const struct ls_net *net, const struct ls_loss_rule *loss,
                           const float *parameters, const struct ls_model_facts *facts, struct ls_error *err);

/* What a checkpoint holds beside a model.  Tensors' names begin with LS_STATE_PREFIX, so that a checkpoint
 * can be read as the model of its step. */
#define LS_STATE_PREFIX "state."
struct ls_model_extras {
    const struct ls_tensor *tensors;
    ptrdiff_t n_tensors;
    const struct ls_metadata *metadata;
    ptrdiff_t n_metadata;
};

/* As ls_model_save, with more in it, and sealed (formats/safetensors.h). */
enum ls_code ls_model_save_sealed(const char *path, const struct ls_net *net, const struct ls_loss_rule *loss,
                                  const float *parameters, const struct ls_model_facts *facts,
                                  const struct ls_model_extras *extras, struct ls_error *err);

/* Whether ls_model_save could write there, asked before hours of training.  Leaves nothing behind.  Local. */
enum ls_code ls_model_can_save(const char *path, struct ls_error *err);

struct ls_model {
    struct ls_net net;
    struct ls_loss_rule loss;      /* owns its class weights */
    struct ls_class_names classes; /* of the data it was trained on; n == 0: classes are their numbers */
    struct ls_features inputs;     /* what is known of their features */
    float *parameters;             /* (net.n_floats) */
    struct ls_safetensors *file;   /* open, for its metadata */
};

/* Opens a file of ls_model_save and reads everything.  Local.  On failure *model is all zero.  Nothing in the
 * file is trusted, and the parameters must have the hash that its metadata states. */
enum ls_code ls_model_load(struct ls_model *model, const char *path, struct ls_error *err);
void ls_model_release(struct ls_model *model);

/* The same from an open file.  `path` is for messages. */
enum ls_code ls_model_read_parameters(const struct ls_safetensors *file, const char *path,
                                      const struct ls_net *net, float *parameters, struct ls_error *err);

/* The names of classes that the metadata of a model states, or none.  Local. */
enum ls_code ls_model_read_classes(const struct ls_safetensors *file, const char *path,
                                   struct ls_class_names *classes, struct ls_error *err);

/* What they state of features, or nothing (metadata input_names, input_means).  Local. */
enum ls_code ls_model_read_inputs(const struct ls_safetensors *file, const char *path,
                                  struct ls_features *inputs, struct ls_error *err);

/* Reads only the parameters, for a net that is already there; tensors must have exactly its names and shapes,
 * and the hash that a file of ls_model_save states. */
enum ls_code ls_model_load_parameters(const char *path, const struct ls_net *net, float *parameters,
                                      struct ls_error *err);

#endif
