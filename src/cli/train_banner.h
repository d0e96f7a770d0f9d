/* What a training run says of itself before it starts: data, net, update, batch, machine. */
#ifndef LS_CLI_TRAIN_BANNER_H
#define LS_CLI_TRAIN_BANNER_H

#include "cli/train_report.h"

void ls_train_banner(const struct ls_train_report *report);

#endif
