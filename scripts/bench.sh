#!/bin/sh
# `make bench`: what this machine can do, what lockstep makes of it, and what others do beside it.  Kernels and steps are compared
# with the oracle before they are timed, but for resnet20's steps, which would take it minutes; layouts of ranks and threads
# with each other.  Figures to compare are measured in turn, in one run.
set -eu
cd "$(dirname "$0")/.."
lockstep=${LOCKSTEP:-build/lockstep}
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
title() {
    printf '\n== %s\n' "$1"
}
title "machine"
"$lockstep" info machine
title "matrix products and convolutions, one core (asks: 85 % of peak, 80 % for 60x128x784; 60 % for 3x3 of 32 and more channels)"
OMP_PROC_BIND=close "$lockstep" bench kernels --threads 1
title "matrix products and convolutions, all cores"
"$lockstep" bench kernels
title "whole steps, all cores, one rank"
"$lockstep" bench step --net "dense 2048, relu, dense 2048, relu, dense 2048, relu, dense 10" --batch 1024
"$lockstep" bench step --net "dense 1024, relu, dense 1024, relu, dense 10" --batch 256
"$lockstep" bench step --net "dense 128, relu, dense 10" --batch 64
"$lockstep" bench step --net softmax-regression --batch 256
"$lockstep" bench step --net cnn --batch 64
"$lockstep" bench step --net resnet20 --batch 128 --no-verify
title "the price of exactness: tree against MPI_Allreduce, 2 ranks (ask: at most 2 %)"
mpirun -n 2 --bind-to core "$lockstep" bench step --net "dense 128, relu, dense 10" --batch 64 --compare-allreduce
mpirun -n 2 --bind-to core "$lockstep" bench step --net "dense 1024, relu, dense 1024, relu, dense 10" --batch 256 --compare-allreduce
title "scaling over ranks and threads (plots: build/scaling*/scaling.svg)"
scripts/scaling.sh --out build/scaling -- --batch 64
scripts/scaling.sh --out build/scaling-wide -- --net "dense 1024, relu, dense 1024, relu, dense 10" --batch 256 --seconds 6
title "beside PyTorch, kann and scikit-learn"
scripts/peers/venv.sh || echo "bench: PyPI's newest PyTorch cannot be had; Debian's python3-torch does if it is installed" >&2
rm -f build/peers.csv
/usr/bin/python3 scripts/bench_peers.py --lockstep "$lockstep" --csv build/peers.csv --markdown build/peers.md
