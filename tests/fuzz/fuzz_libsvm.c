/* LIBSVM text: the first line of the input is the settings, the rest the file, plain or gzip. */
#include "fuzz.h"
#include "settings.h"

FUZZ_TARGET(libsvm)
{
    fuzz_check_with_settings("libsvm", bytes, n, 0);
}
