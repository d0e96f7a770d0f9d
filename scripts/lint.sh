#!/bin/sh
# The rules of the house that a machine can hold: the contract's bans, formatting, headers that stand alone, calls that go
# downward only.  Prints each breach as FILE:LINE and ends with a count; exit 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 2
breaches=0
files=$(mktemp)
trap 'rm -f "$files" "$files.found"' EXIT

# report RULE: reads FILE:LINE:TEXT lines, prints them, counts them.
report() {
    if [ -s "$files.found" ]; then
        sed "s|^|$1: |" "$files.found"
        breaches=$((breaches + $(wc -l <"$files.found")))
    fi
}
sources() { git ls-files -co --exclude-standard -- "$@"; }
# Comments are taken out first (lines are kept), so that a rule's own words may stand in one; and so is what stands behind
# `#ifdef LS_MUTANT_...`, the deliberate breaks that only `make MUTANT=...` compiles.
strip() {
    perl -0777 -pe 's{/\*.*?\*/}{ my $c = $&; $c =~ s/[^\n]//g; $c }gse; s{//[^\n]*}{}g;
        s{^#\s*ifdef LS_MUTANT_.*?^#\s*(?:else|endif)\b}{ my $c = $&; $c =~ s/[^\n]//g; $c }gsme' "$1"
}
# ban RULE PATTERN FILE...: no line of the files' code may match.
ban() {
    rule=$1 pattern=$2
    shift 2
    for file in "$@"; do
        strip "$file" | grep -nP "$pattern" | sed "s|^|$file:|"
    done >"$files.found"
    report "$rule"
}

code=$(sources 'src/*.c' 'src/*.h')
numeric=$(sources 'src/compute/*.c' 'src/compute/*.h' 'src/layers/*' 'src/optim/*' 'src/base/*.h' 'src/base/*.c' 'src/comm/*.c' \
    'src/train/*.c' 'src/data/*.c' 'src/model/*.c' 'src/cli/*.c' 'src/formats/*.c' | grep -v -e src/model/reference64 -e src/train/gradcheck.c)
# fmaf and sqrt are exact by IEEE 754; __builtin_fmaf is how they are spelt.
libm='\b(?!__builtin_fmaf\b)(__builtin_)?(exp|exp2|expm1|log|log2|log10|log1p|pow|tanh|sinh|cosh|sin|cos|tan|asin|acos|atan|atan2|erf|erfc|tgamma|lgamma|cbrt|hypot|fma|fmod|remainder)f?l? *\('
# shellcheck disable=SC2046,SC2086
{
    ban "libm in code whose result counts (use base/elementary.h)" "$libm" $numeric
    ban "an instruction or a pragma that is not IEEE arithmetic" \
        '_mm\d*_(maskz?_)?(rcp|rsqrt)|\bv(recp|rsqrt)[es]q?_|optimize *\(|\bFP_CONTRACT\b' $code
    # Sums of integers are exact in any order: their names begin with n_, and no float's name may.
    ban "reduction of something that is no count n_... (threads would decide the order)" \
        'reduction *\((?! *\+ *: *n_\w+( *, *n_\w+)* *\))' $code
    ban "a float named like a count" '\b(float|double) +(const +)?([^;()]*, *)?\**n_\w' $code
    ban "pragma omp without default(none)" '^ *# *pragma +omp +(parallel|task|teams)(?!.*\bdefault\(none\))' $code
    ban "mpi.h outside comm_mpi*.[ch]" 'include *[<"]mpi\.h[>"]' $(echo "$code" | grep -v src/comm/comm_mpi)
    ban "exit outside main.c" '(?<![>.])\b(exit|_exit|abort|quick_exit) *\(' $(echo "$code" | grep -v -e src/main.c -e src/comm/comm_)
}
grep -nE -e '-ffast-math|-Ofast|-funsafe-math|-fassociative-math|-freciprocal-math|-ffinite-math|-fno-signed-zeros|-mdaz-ftz|-ffp-contract=(fast|on)' Makefile .ci/run >"$files.found"
report "a flag that changes values"
grep -q -e '-ffp-contract=off' Makefile || { echo "Makefile: -ffp-contract=off is gone"; breaches=$((breaches + 1)); }

# Calls go downward: cli > train > {model, data, comm, formats} > {layers, optim} > compute > base.
level() {
    case $1 in
    base) echo 0 ;; compute) echo 1 ;; layers | optim) echo 2 ;; model | data | comm | formats) echo 3 ;; train) echo 4 ;; cli) echo 5 ;; *) echo 9 ;;
    esac
}
for file in $code; do
    folder=$(echo "$file" | cut -d/ -f2)
    [ "$folder" = "$(basename "$file")" ] && continue
    grep -nE '^#include "' "$file" | while IFS=: read -r line text; do
        used=$(echo "$text" | sed 's/.*"\([^/"]*\)\/.*/\1/')
        [ "$(level "$used")" -le "$(level "$folder")" ] || echo "$file:$line:$text"
    done
done >"$files.found"
report "an include that goes upward"

# Every header compiles alone.
mpi_flags=$(mpicc --showme:compile 2>/dev/null)
for header in $(sources 'src/*.h' | grep -v 'src/compute/parallel/'); do
    # shellcheck disable=SC2086
    # shellcheck disable=SC2046
    gcc -std=c17 -Wall -Wextra -Wpedantic -Isrc $(pkg-config --cflags hdf5) -D_GNU_SOURCE $mpi_flags -fsyntax-only -x c "$header" >/dev/null 2>"$files" ||
        { echo "$header:1: does not compile alone"; sed 's/^/    /' "$files"; } | sed -n 1,4p
done >"$files.found"
report "header"

formatted=$(command -v clang-format-14 || command -v clang-format)
if [ -n "$formatted" ]; then
    for file in $(sources '*.c' '*.h'); do
        "$formatted" --dry-run -Werror "$file" 2>&1 | grep -E 'error:' | head -n 1
    done >"$files.found"
    report "format (make format)"
else
    echo "lint: clang-format is not installed" >&2
    breaches=$((breaches + 1))
fi
# shellcheck disable=SC2046
shellcheck $(sources 'scripts/*.sh' scripts/lockstep-run 'tests/*.sh' '.ci/run') >"$files.found" || report "shellcheck"

echo "lint: $breaches breaches"
[ "$breaches" = 0 ]
