/* What `lockstep info DATA --json FILE` says of one part of the data. */
#ifndef LS_CLI_INFO_DATA_JSON_H
#define LS_CLI_INFO_DATA_JSON_H

#include "cli/json_report.h"
#include "data/survey.h"

/* Adds the part under `name`, "training" or "test". */
enum ls_code ls_info_data_json(json_t **all, const char *name, const struct ls_stream_facts *facts,
                               const struct ls_survey *survey, struct ls_error *err);

#endif
