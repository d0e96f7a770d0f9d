/* The core of `lockstep verify A B`: did two runs give the same result?
 *
 * Compared are bits: a NaN equals itself, +0 and -0 differ.  Compared is only what the numeric contract
 * promises: never times, shares of time, ranks, threads, or where a run was interrupted. */
#ifndef LS_FORMATS_COMPARE_H
#define LS_FORMATS_COMPARE_H

#include <stdio.h>

#include "base/status.h"

/* Compares two models or two run logs, told apart by their content, and prints the verdict to `out`:
 * "identical: ..." and LS_OK, or "different: ..." with both values and LS_DIFFERENT.  LS_FAILED with *err
 * filled when one cannot be read, is neither, they are not of one kind, or there is nothing to compare.
 * Local.
 *
 * Models: the metadata net, loss and contract_version; the tensors' names and shapes; every element.  The
 * first element that differs is shown by its index in the stored shape.  The hash is base/hash.h's, as
 * training prints it: matrices are taken as dense weights, which memory has input-major. Logs: the events
 * "step" and "epoch" in order, by their step, epoch, tensors, loss, test_loss, test_accuracy and hash. */
enum ls_code ls_compare_files(const char *a, const char *b, FILE *out, struct ls_error *err);

/* The same when the kind is known. */
enum ls_code ls_compare_models(const char *a, const char *b, FILE *out, struct ls_error *err);
enum ls_code ls_compare_logs(const char *a, const char *b, FILE *out, struct ls_error *err);

#endif
