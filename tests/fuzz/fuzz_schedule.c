/* --schedule: what is read is written so that it reads back the same. */
#include <string.h>

#include "fuzz.h"
#include "train/schedule.h"

FUZZ_TARGET(schedule)
{
    struct ls_schedule schedule = {.n_milestones = 0}, again = {.n_milestones = 0};
    struct ls_error err = {.code = LS_OK};
    char text[LS_SCHEDULE_TEXT], text_again[LS_SCHEDULE_TEXT];
    const enum ls_code code = ls_schedule_parse(&schedule, fuzz_text(bytes, n), &err);
    fuzz_require_message(code, &err);
    if (code != LS_OK)
        return;
    ls_schedule_format(&schedule, text);
    fuzz_require(ls_schedule_parse(&again, text, &err) == LS_OK, "what is written cannot be read back");
    fuzz_require(strcmp(text, ls_schedule_format(&again, text_again)) == 0, "it reads back differently");
    struct ls_learning_rate rate = ls_learning_rate_start(&schedule, 0.1f, 7, 3, -1);
    for (int64_t t = 0; t < rate.total + 2; t++) {
        const float now = ls_learning_rate_at(&rate, t);
        fuzz_require(now >= 0.0f, "a learning rate that is no number, or below 0");
        ls_learning_rate_watch(&rate, 1.0f);
    }
}
