/* What surrounds a loss besides its arithmetic: its name, which targets it takes, its class weights as text.
 *
 * A rule of this file owns its class_weights; ls_loss_rule_release frees them. */
#ifndef LS_TRAIN_LOSS_RULE_H
#define LS_TRAIN_LOSS_RULE_H

#include "data/dataset.h"

/* "softmax", "squared", "half-squared", "bce", "huber", "hinge", NULL-terminated, in the order of enum
 * ls_loss. */
extern const char *const ls_loss_names[];

/* "softmax cross-entropy", ...: the same for people. */
extern const char *const ls_loss_titles[];

/* The delta of --loss huber when none is given. */
#define LS_DEFAULT_HUBER_DELTA 1.0f

void ls_loss_rule_release(struct ls_loss_rule *rule);

/* Whether the loss compares outputs with the labels of such data, rather than with its values. */
int ls_loss_takes_labels(const struct ls_loss_rule *rule, const struct ls_dataset *data);

/* LS_USAGE when the rule has class weights and the data no labels, or labels beyond them. */
enum ls_code ls_loss_check_weights(const struct ls_loss_rule *rule, const struct ls_dataset *data,
                                   struct ls_error *err);

/* Reads "2,0.5,1" into class_weights and n_classes: numbers of at least 0, one of them above 0.  LS_USAGE
 * with what is wrong when it is none. */
enum ls_code ls_loss_read_weights(struct ls_loss_rule *rule, const char *text, struct ls_error *err);

/* class_weights as ls_loss_read_weights reads them back, bit for bit; released by ls_free. */
char *ls_loss_weights_text(const struct ls_loss_rule *rule, struct ls_error *err);

/* n_samples / (classes * samples of the class), for each class: what makes every class count alike.  The
 * counts are exact and each weight is one rounded number, so all ranks have the same.  LS_USAGE when a class
 * has no samples. */
enum ls_code ls_loss_balance_weights(struct ls_loss_rule *rule, const struct ls_dataset *data,
                                     struct ls_error *err);

/* For ranks to see that they have the same. */
struct ls_hash ls_loss_rule_hash(const struct ls_loss_rule *rule);

#endif
