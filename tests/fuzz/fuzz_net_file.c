/* The net language in a file. */
#include <stdio.h>

#include "fuzz.h"
#include "nets.h"

FUZZ_TARGET(net_file)
{
    char text[40];
    snprintf(text, sizeof text, "@%s", fuzz_file(0, bytes, n));
    fuzz_check_net(text);
}
