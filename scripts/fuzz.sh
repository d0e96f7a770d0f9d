#!/bin/sh
# What `make fuzz` runs: every target of tests/fuzz, or those named, one after the other, then a table.
#   TIME=60 scripts/fuzz.sh [TARGET ...]      seconds a target, or
#   RUNS=10000000 scripts/fuzz.sh [TARGET ...]    inputs a target, however long that takes
# Each target runs without sanitizers, which is 5 to 20 times as fast, and then with AddressSanitizer and UBSan: over all inputs that
# reached something new, and for a quarter of the time, or a hundredth of the inputs, of its own.  What was found lies in
# build/fuzz-findings/TARGET/, the grown corpora, which the next run starts from, in build/fuzz-corpus/TARGET/.
# Exit status 1 when anything was found.
set -u
cd "$(dirname "$0")/.." || exit 2
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
TIME=${TIME:-60}
RUNS=${RUNS:-}
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
plain=build/nompi-noomp-fuzzer-clang
checked=build/nompi-noomp-fuzzer+address+undefined-clang
for san in fuzzer fuzzer+address+undefined; do
    make -j2 --no-print-directory CC=clang-14 MPI=0 OMP=0 SAN=$san 'CFLAGS=-O2 -g' fuzz-programs || exit 2
done
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(sed -n 's/^TARGET(\(.*\))$/\1/p' tests/fuzz/targets.h)

# field NAME: a number of libFuzzer's final statistics.
field() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
# run PROGRAM ARGUMENT ...: counts what is found; libFuzzer ends at the first.
run() {
    # shellcheck disable=SC2086
    "$@" $dictionary -artifact_prefix="$findings/" -max_len=$longest -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        "$corpus" "tests/fuzz/corpus/$target" $regressions >"$log" 2>&1 && return
    found=$((found + 1))
    grep -m 3 -E 'fuzz: finding|ERROR: |runtime error|Test unit written' "$log" >&2
}

total=0
log=$(mktemp)
table=$(mktemp)
trap 'rm -f "$log" "$table"' EXIT
printf '%-16s %12s %9s %9s %8s  %s\n' target executions exec/s sanitized coverage findings | tee "$table"
for target in "$@"; do
    findings=build/fuzz-findings/$target
    corpus=build/fuzz-corpus/$target
    mkdir -p "$findings" "$corpus"
    dictionary=""
    regressions=""
    found=0
    longest=1024
    [ "$target" = checkpoint ] && longest=4096
    [ -f "tests/fuzz/$target.dict" ] && dictionary=-dict=tests/fuzz/$target.dict
    [ -d "tests/fuzz/regressions/$target" ] && regressions=tests/fuzz/regressions/$target
    if [ -n "$RUNS" ]; then
        run "$plain/fuzz/$target" -runs="$RUNS"
    else
        run "$plain/fuzz/$target" -max_total_time="$TIME"
    fi
    executed=$(field number_of_executed_units)
    speed=$(field average_exec_per_sec)
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [ -n "$RUNS" ]; then
        run "$checked/fuzz/$target" -runs=$((RUNS / 100))
    else
        run "$checked/fuzz/$target" -max_total_time=$(((TIME + 3) / 4))
    fi
    printf '%-16s %12s %9s %9s %8s  %s\n' "$target" "${executed:-0}" "${speed:-0}" "$(field number_of_executed_units)" "${coverage:-0}" $found
    total=$((total + found))
    [ "${executed:-0}" -gt 0 ] || total=$((total + 1))
done
echo "$total findings"
[ $total = 0 ]
