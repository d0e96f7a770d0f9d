/* What a stream of samples is like, in one pass and in memory that does not grow with it. */
#ifndef LS_DATA_SURVEY_H
#define LS_DATA_SURVEY_H

#include "data/stream.h"

/* One input, one target value, or all inputs together. */
struct ls_survey_column {
    int64_t n, n_missing;                   /* n: those that are there */
    double least, largest, mean, deviation; /* of those; deviation: of the population, over n */
};

struct ls_survey {
    struct ls_survey_column all;     /* inputs */
    struct ls_survey_column *inputs; /* (n_features) */
    struct ls_survey_column *values; /* (n_values), or NULL */
    int64_t *n_of_class;             /* (n_classes), or NULL */
};

/* Reads the stream from its beginning.  Release with ls_survey_release, also after failure. */
enum ls_code ls_survey_stream(struct ls_survey *survey, struct ls_stream *stream, struct ls_error *err);
void ls_survey_release(struct ls_survey *survey);

#endif
