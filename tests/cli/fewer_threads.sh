#!/bin/sh
# OpenMP may give fewer threads than were asked for (OMP_THREAD_LIMIT, a container's limits).  Work is planned for those
# that were asked for: whoever finds fewer must share it out in another way, and end with the oracle's bits.
#   tests/cli/fewer_threads.sh LOCKSTEP
set -eu
lockstep=$1
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
train() {
    to=$1
    shift
    "$lockstep" train --data synthetic:n=200,shape=20x20,classes=10,test=0 --steps 5 --quiet --momentum 0.9 \
        --net "conv 4 3x3 pad 1, relu, maxpool 2, conv 20 3x3, tanh, maxpool 2, dense 128, relu, dense 10" --save "$models/$to" "$@"
}
for leaf in 8 32; do # with two leaves four threads share out leaves and, in pairs, outputs
    train serial --serial --microbatch $leaf
    for threads in 2 3 4; do
        for limit in 1 2 3; do
            [ $limit -lt $threads ] || continue
            echo "leaves of $leaf, $limit of $threads threads:"
            OMP_THREAD_LIMIT=$limit train limited --threads $threads --microbatch $leaf
            "$lockstep" verify "$models/serial" "$models/limited"
        done
    done
done
