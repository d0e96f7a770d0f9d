#!/bin/sh
# Flips bits on purpose and counts what notices: `make faults`.  RANKS=4 TRIALS=1000 in the environment.
cd "$(dirname "$0")/.." || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
# Ranks of one host share memory, and send nothing; here each has a host of its own.
export LOCKSTEP_RANKS_PER_HOST=1
ranks=${RANKS:-4}
exec mpirun --oversubscribe --bind-to none --timeout 3600 -n "$ranks" build/faults/mpi-cases fault-campaign "$ranks" "${TRIALS:-1000}"
