#!/bin/sh
# Instructions that fixed small runs execute, by callgrind, against those recorded in tests/instructions.txt: a change that
# costs more than 3 % is seen however noisy the machine is.
#   scripts/instructions.sh            compares; exit status 1 when a run takes over 3 % more
#   scripts/instructions.sh --record   writes the counts of this build as the new record
set -u
cd "$(dirname "$0")/.." || exit 2
record=tests/instructions.txt
log=$(mktemp)
new=$(mktemp)
trap 'rm -f "$log" "$new"' EXIT
# valgrind 3.19 knows no AVX-512; one thread, so that nothing depends on who waits for whom.
export LOCKSTEP_ISA=avx2 OMP_NUM_THREADS=1
worse=0

# count NAME WORD ...: the instructions of one run of the program.
count() {
    name=$1
    shift
    valgrind --tool=callgrind --callgrind-out-file=/dev/null build/lockstep "$@" >"$log" 2>&1 || {
        tail -n 20 "$log"
        echo "instructions: '$name' failed"
        exit 2
    }
    now=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")
    was=$(sed -n "s/^$name //p" $record 2>/dev/null)
    echo "$name $now" >>"$new"
    awk -v name="$name" -v now="$now" -v was="${was:-0}" 'BEGIN {
        if (was == 0) { printf "%-8s %12d   not recorded\n", name, now; exit }
        change = 100 * (now / was - 1)
        note = (change > 3) ? ": MORE THAN 3 % ABOVE" : (change < -3) ? ": record it (scripts/instructions.sh --record)" : ""
        printf "%-8s %12d   recorded %d: %+.2f %%%s\n", name, now, was, change, note
        exit (change > 3)
    }' || worse=1
}

count start train --steps 1 --quiet
count mlp train --data synthetic:n=640,shape=28x28,classes=10,test=0 --net "dense 128, relu, dense 10" --momentum 0.9 --steps 20 --quiet
count conv train --data synthetic:n=64,shape=28x28,classes=10,test=0 --net "conv 16 3x3 pad 1, relu, maxpool 2, flatten, dense 10" \
    --optimizer adam --batch 16 --microbatch 8 --steps 3 --quiet
i=0
while [ $i -lt 2000 ]; do
    i=$((i + 1))
    echo "$i.25,$((i * 7919 % 1000)).5e-2,-0.$i,kind$((i % 5))"
done >"$log.csv"
count csv info "csv:$log.csv"
rm -f "$log.csv"
if [ "${1:-}" = --record ]; then
    cp "$new" $record
    exit 0
fi
exit $worse
