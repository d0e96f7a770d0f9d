/* The net language, for samples of 3x8x8: what is read has a canonical text that reads back as itself. */
#include "fuzz.h"
#include "nets.h"

FUZZ_TARGET(net)
{
    const char *text = fuzz_text(bytes, n);
    if (text[0] != '@') /* files have a target of their own: each takes a block of a megabyte */
        fuzz_check_net(text);
}
