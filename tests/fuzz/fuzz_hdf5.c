/* HDF5 files.  The library that reads them is not built for fuzzing, so what is found in it is found slowly.
 */
#include <stdio.h>

#include "fuzz.h"

FUZZ_TARGET(hdf5)
{
    char spec[100];
    snprintf(spec, sizeof spec, "hdf5:%s", fuzz_disk_file(bytes, n));
    fuzz_check_stream(spec, 0);
}
