#!/bin/sh
# Other processors, emulated: the same bits as this one?  One check a line, "ok WHAT" or "FAILED WHAT"; exit 1 after a failure.
#   AArch64 (build/aarch64-nompi) on one thread: with more, qemu-user 7.2 hangs now and then
#   x86-64 without AVX-512 (qemu's Haswell), which the choice of the ISA must notice
#   this machine's own build without MPI
# The matrix prints a hash of each of its runs, so the same text is the same bits of nets, losses and updates of every kind.
set -u
cd "$(dirname "$0")/../.." || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

verdict() { # STATUS WHAT
    if [ "$1" = 0 ]; then
        echo "ok $2"
    else
        echo "FAILED $2"
        failed=1
    fi
}
# The runners are called by name, through compare.
# shellcheck disable=SC2317
arm() {
    OMP_NUM_THREADS=1 timeout 300 qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu "$@"
}
# Features of that processor that qemu lacks and would warn of are switched off.
# shellcheck disable=SC2317
haswell() {
    OMP_NUM_THREADS=1 timeout 300 qemu-x86_64 -cpu Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm "$@"
}
# shellcheck disable=SC2317
native() { "$@"; }

run="train --data digits --steps 8 --batch 100 --momentum 0.9 --nesterov --weight-decay 1e-3 --quiet"
net="dense 48, relu, dense 24, tanh, dense 16, sigmoid, dense 10"
# compare RUNNER BUILD WORD: the command's model, its line of results, and the matrix.
compare() {
    runner=$1 build=$2 what=$3
    # shellcheck disable=SC2086
    "$runner" "$build/lockstep" $run --net "$net" --save "$work/model.safetensors" >"$work/out" 2>"$work/err"
    status=$?
    cat "$work/err"
    if [ $status = 0 ]; then
        build/lockstep verify "$work/native.safetensors" "$work/model.safetensors"
        status=$?
    fi
    # Loss, test loss, accuracy and hash; the columns between them are times.
    awk '{ print $1, $2, $3, $4, $5, $NF }' "$work/out" >"$work/results"
    cmp "$work/native.results" "$work/results" || status=1
    verdict $status "$what: train"
    "$runner" "$build/mpi-cases" matrix 1 tree 1 >"$work/matrix" 2>"$work/err"
    status=$?
    cat "$work/err"
    sed '/^all as the oracle/d' "$work/matrix" >"$work/hashes"
    diff "$work/native.hashes" "$work/hashes" || status=1
    verdict $status "$what: matrix"
}

# shellcheck disable=SC2086
build/lockstep $run --net "$net" --save "$work/native.safetensors" >"$work/out" || exit 2
awk '{ print $1, $2, $3, $4, $5, $NF }' "$work/out" >"$work/native.results"
build/mpi-cases matrix 1 tree 1 | sed '/^all as the oracle/d' >"$work/native.hashes"
if [ ! -s "$work/native.results" ] || [ "$(wc -l <"$work/native.hashes")" -lt 10 ]; then
    echo "FAILED this machine's run printed nothing to compare with"
    exit 1
fi

compare native build/nompi "without MPI"
compare arm build/aarch64-nompi "AArch64"
if [ "$(uname -m)" = x86_64 ]; then
    compare haswell build/nompi "AVX2 only"
    haswell build/nompi/lockstep train --data digits --steps 1 2>/dev/null | grep -q '^run .* avx2;'
    verdict $? "AVX2 only: the run says so"
fi
exit $failed
