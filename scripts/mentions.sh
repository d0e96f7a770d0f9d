#!/bin/sh
# Which sources a macro reaches: the Makefile compiles only these anew for MUTANT=... and FAULTS=1.
#   scripts/mentions.sh WORD ...     prints the .c files of src and tests that contain a WORD, or include a header that does
# Headers are known by their last name, so two of one name are one: rather a file too many than one too few.
set -u
cd "$(dirname "$0")/.." || exit 2
found=
more=$(for word; do grep -rlw --include='*.[ch]' -e "$word" src tests; done | sort -u)
while [ "$more" != "$found" ]; do
    found=$more
    headers=$(echo "$found" | sed -n 's|.*/\(.*\)\.h$|\1|p' | sort -u | paste -sd '|')
    more=$({
        echo "$found"
        [ -z "$headers" ] || grep -rlE --include='*.[ch]' "^ *# *include \"(.*/)?($headers)\.h\"" src tests
    } | sort -u)
done
echo "$found" | grep '\.c$'
