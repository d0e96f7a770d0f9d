#!/bin/sh
# `make demo`: Fashion-MNIST on all cores, then the proof that one run has one result.
set -eu
cd "$(dirname "$0")/.."
lockstep=${LOCKSTEP:-build/lockstep}
# All cores: up to four ranks, as a batch of 128 has four leaves, and the rest as threads.  nproc counts hardware threads, and so
# does Open MPI with --use-hwthread-cpus.
cores=$(nproc)
ranks=1
if [ "$cores" -ge 4 ]; then ranks=4; elif [ "$cores" -ge 2 ]; then ranks=2; fi
threads=$((cores / ranks))
launch="mpirun --use-hwthread-cpus --map-by slot:PE=$threads -n $ranks"
model=build/fashion.safetensors
run="--data fashion-mnist --batch 128 --lr 0.02 --momentum 0.9 --seed 2"
net="dense 256, relu, dense 128, relu, dense 10"
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
progress=off
if [ -t 2 ]; then progress=on; fi
show() {
    printf '\n$ %s\n' "$*"
}

show "$launch" lockstep train "$run" --net "'$net'" --threads "$threads" --epochs 12 --save $model --log build/fashion.jsonl
# shellcheck disable=SC2086
$launch "$lockstep" train $run --net "$net" --threads "$threads" --epochs 12 --save $model --log build/fashion.jsonl --progress $progress
show lockstep eval $model --data fashion-mnist
"$lockstep" eval $model --data fashion-mnist

printf '\nThe same run, its first 5 steps, by the parallel code on %s ranks and by the serial oracle:\n' "$ranks"
# shellcheck disable=SC2086
$launch "$lockstep" train $run --net "$net" --threads "$threads" --steps 5 --eval-every 0 --quiet --save build/parallel.safetensors
# shellcheck disable=SC2086
"$lockstep" train $run --net "$net" --steps 5 --eval-every 0 --quiet --serial --save build/serial.safetensors
show lockstep verify build/parallel.safetensors build/serial.safetensors
"$lockstep" verify build/parallel.safetensors build/serial.safetensors
"$lockstep" eval $model --data fashion-mnist | awk '/^accuracy/ { if ($2 < 88) { print "demo: the accuracy " $2 " % is below 88 %"; exit 1 } }'
