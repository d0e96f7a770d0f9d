/* Options of train about faults: what a run does when a rank stops answering, or computes wrong numbers. */
#ifndef LS_CLI_FAULT_OPTIONS_H
#define LS_CLI_FAULT_OPTIONS_H

#include "cli/options.h"
#include "comm/comm.h"

struct ls_fault_options {
    float stall_timeout;
    int64_t cross_check;
};

#define LS_FAULT_OPTIONS_DEFAULT                                                                             \
    {                                                                                                        \
        .stall_timeout = 600.0f                                                                              \
    }

#define LS_FAULT_OPTIONS(o)                                                                                  \
    {"stall-timeout",                                                                                        \
     "SECONDS",                                                                                              \
     LS_OPTION_FLOAT,                                                                                        \
     &(o)->stall_timeout,                                                                                    \
     "end the job when a rank lets the others wait for so long and does not answer; 0: wait for ever",       \
     "600",                                                                                                  \
     0,                                                                                                      \
     1e9,                                                                                                    \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
    {                                                                                                        \
        "cross-check", "N", LS_OPTION_INT, &(o)->cross_check,                                                \
            "steps between checks that find wrong cores: another rank computes one leaf again, the sums "    \
            "travel twice, weights are compared",                                                            \
            "never", 0, 1e9, NULL, NULL                                                                      \
    }

#endif
