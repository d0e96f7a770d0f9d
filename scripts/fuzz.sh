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
        $fork "$corpus" "tests/fuzz/corpus/$target" $regressions >"$log" 2>&1 && return
    found=$((found + 1))
    grep -m 3 -E 'fuzz: finding|ERROR: |runtime error|Test unit written' "$log" >&2
}
# libhdf5 crashes on some damaged files, and leaks memory of its own on others.  Each such input is looked at again: what the
# library does is put aside and counted apart, by the library's name in the report; anything else is a finding.  In fork
# mode some reports come without their input, or do not repeat.
sort_crashes() {
    mkdir -p "$findings/in-libhdf5"
    found=0
    for input in "$findings"/crash-* "$findings"/leak-* "$findings"/timeout-* "$findings"/oom-*; do
        [ -f "$input" ] || continue
        if timeout 60 "$checked/fuzz/$target" -timeout=10 -rss_limit_mb=1024 "$input" >"$log.crash" 2>&1; then
            rm "$input"
        elif grep -q 'fuzz: finding' "$log.crash" || ! grep -q libhdf5 "$log.crash"; then
            found=$((found + 1))
            echo "$input" >&2
        else
            mv "$input" "$findings/in-libhdf5"
        fi
    done
    in_library=$(find "$findings/in-libhdf5" -type f | wc -l)
}

total=0
log=$(mktemp)
trap 'rm -f "$log" "$log.crash"' EXIT
printf '%-16s %12s %9s %9s %8s  %s\n' target executions exec/s sanitized coverage findings
for target in "$@"; do
    findings=build/fuzz-findings/$target
    corpus=build/fuzz-corpus/$target
    mkdir -p "$findings" "$corpus"
    dictionary=""
    regressions=""
    found=0
    fork=""
    in_library=0
    longest=1024
    case $target in
    checkpoint) longest=4096 ;;
    hdf5) longest=4096 fork="-detect_leaks=0 -fork=1 -ignore_crashes=1 -ignore_ooms=1 -ignore_timeouts=1" ;;
    esac
    [ -f "tests/fuzz/$target.dict" ] && dictionary=-dict=tests/fuzz/$target.dict
    [ -d "tests/fuzz/regressions/$target" ] && regressions=tests/fuzz/regressions/$target
    if [ -n "$RUNS" ]; then
        run "$plain/fuzz/$target" -runs="$RUNS"
    else
        run "$plain/fuzz/$target" -max_total_time="$TIME"
    fi
    [ -z "$fork" ] || sort_crashes
    executed=$(field number_of_executed_units)
    [ -n "$executed" ] || executed=$(sed -n 's/^#\([0-9]*\): cov: .*/\1/p' "$log" | tail -n 1)
    speed=$(field average_exec_per_sec)
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [ -n "$RUNS" ]; then
        run "$checked/fuzz/$target" -runs=$((RUNS / 100))
    else
        run "$checked/fuzz/$target" -max_total_time=$(((TIME + 3) / 4))
    fi
    [ -z "$fork" ] || sort_crashes
    printf '%-16s %12s %9s %9s %8s  %s\n' "$target" "${executed:-0}" "${speed:-0}" "$(field number_of_executed_units)" "${coverage:-0}" \
        "$found$([ "$in_library" = 0 ] || echo ", $in_library in libhdf5")"
    total=$((total + found))
    [ "${executed:-0}" -gt 0 ] || total=$((total + 1))
done
echo "$total findings"
[ $total = 0 ]
