/* Delimited text: the first line of the input is the settings, the rest the file, plain or gzip. */
#include "fuzz.h"
#include "settings.h"

FUZZ_TARGET(csv)
{
    fuzz_check_with_settings("csv", bytes, n, n % 2);
}
