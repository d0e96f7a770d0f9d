#!/bin/sh
# Trains on a file several times larger than the memory it may use, and compares with the run that has all of it:
#   scripts/out_of_core.sh [MEGABYTES [LIMIT]]     of the file (default 640) and of memory, its page cache included (default 128)
# The limit is a cgroup of its own (v1 or v2; needs root or a delegated one).  Without one it is `ulimit -v`, which bounds what is
# mapped, not the page cache: samples are then read by pread.  Caches are dropped before each limited run where root may.
# Each figure is the best of three runs, start-up included.
# Exit status 0: every limited run ended with the hash of its unlimited one.
# shellcheck disable=SC2317 # what trap and timed call is not unreachable
set -eu
cd "$(dirname "$0")/.."
megabytes=${1:-640}
limit=${2:-128}
lockstep=build/lockstep
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/lockstep-out-of-core-XXXXXX")
group=
clean() {
    [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 130' INT TERM
# Threads beside those that compute exist to wait; with every core computing they need it to sleep.
export OMP_WAIT_POLICY=passive

# make_group: names a cgroup with the limit in $group, its peak in $peak; fails where that is not allowed.
make_group() {
    for try in /sys/fs/cgroup/memory /sys/fs/cgroup/unified /sys/fs/cgroup; do
        group=$try/lockstep-out-of-core-$$
        mkdir "$group" 2>/dev/null || continue
        for pair in memory.limit_in_bytes:memory.max_usage_in_bytes memory.max:memory.peak; do
            peak=$group/${pair#*:}
            if [ -f "$group/${pair%:*}" ] && { echo $((limit << 20)) >"$group/${pair%:*}"; } 2>/dev/null; then
                if [ -f "$group/memory.swap.max" ]; then echo 0 >"$group/memory.swap.max" || true; fi
                return 0
            fi
        done
        rmdir "$group"
    done
    group=
    return 1
}

drop_caches() {
    sync
    { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || cold="caches could not be dropped: "
}

# limited COMMAND ...: within the limit.
limited() {
    if [ -n "$group" ]; then
        sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$@"
    else
        sh -c 'ulimit -v "$0"; exec "$@"' $((limit << 10)) "$@"
    fi
}

# timed WHERE COMMAND ...: seconds in $seconds, the hash in $hash, the share of time spent on data in $share.
timed() {
    where=$1
    shift
    began=$(date +%s.%N)
    "$@" >"$folder/$where" || { cat "$folder/$where"; exit 1; }
    seconds=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN{printf "%.2f", b - a}')
    hash=$(awk 'NF > 5 {h = $NF} END {print h}' "$folder/$where")
    share=$(grep -o '[0-9]*/[0-9]*/[0-9]*' "$folder/$where" | tail -n 1 | cut -d/ -f3)
}

least() {
    awk -v a="$1" -v b="$2" 'BEGIN{print a + 0 < b + 0 ? a : b}'
}

samples=$((megabytes * 1000000 / 3140))
echo "file: $samples synthetic samples of 28x28 numbers, $megabytes MB"
"$lockstep" convert "synthetic:n=$samples,shape=28x28,classes=10" "$folder/data.lsd" --quiet
cold=
if make_group; then
    echo "limit: $limit MB of memory and page cache, by $group"
else
    echo "limit: $limit MB of address space, by ulimit -v (no cgroup with a memory limit can be made here)"
fi
status=0
printf '%-34s %10s %10s %7s %6s  %s\n' "net, --shuffle, prefetch=" "all memory" "limited" "ratio" "waits" "hash"
for case in "mlp on on 1500" "mlp on off 1500" "mlp blocks on 1500" "lenet5 on on 400" "lenet5 blocks on 400"; do
    # shellcheck disable=SC2086
    set -- $case
    run="$lockstep train --data lsd:$folder/data.lsd,prefetch=$3 --net $1 --shuffle $2 --steps $4 --epochs 1 --quiet --check-data off"
    whole=1e9 best=1e9
    for _ in 1 2 3; do
        cat "$folder/data.lsd" >/dev/null
        # shellcheck disable=SC2086
        timed whole $run
        whole=$(least "$seconds" "$whole") whole_hash=$hash
        drop_caches
        # shellcheck disable=SC2086
        timed small limited $run
        best=$(least "$seconds" "$best")
        [ "$hash" = "$whole_hash" ] || break
    done
    seconds=$best
    printf '%-34s %8.2f s %8.2f s %7.2f %5s%%  %s %s\n' "$1, $2, $3" "$whole" "$seconds" \
        "$(awk -v a="$seconds" -v b="$whole" 'BEGIN{print a / b}')" "$share" "$hash" \
        "$([ "$hash" = "$whole_hash" ] && echo "the same" || echo "OTHER THAN $whole_hash")"
    [ "$hash" = "$whole_hash" ] || status=1
done
[ -z "$group" ] || [ ! -r "$peak" ] || echo "peak of memory and page cache: $(($(cat "$peak") >> 20)) MB of $limit"
[ -z "$cold" ] || echo "${cold}what of the file was in memory already is not counted"
exit $status
