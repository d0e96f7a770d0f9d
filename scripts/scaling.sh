#!/bin/sh
# Strong and weak scaling of this machine or of several hosts: tables, a CSV and a plot.
#   scripts/scaling.sh [--hosts FILE] [--cores N] [--threads "1 16"] [--out DIR] [-- OPTION ... of `lockstep bench scaling`]
#   --hosts    a file for mpirun's --hostfile, a line a host; without: this machine
#   --cores    of a host (this machine's number; hardware threads of a core count once); they are shared out to ranks with as
#              many threads as --threads says, one job for each number, every thread on a core of its own (1, and all cores)
#   --out      the folder for threads-N.csv and .txt, scaling.csv, scaling.svg (build/scaling)
# One job measures all its smaller numbers of ranks in turn; ratios are within a job.  Bits are compared over all jobs.
# LOCKSTEP_RANKS_PER_HOST=N takes every N ranks of a host for a host, to try it without several.  What mpirun needs besides
# comes from OMPI_MCA_* and LOCKSTEP_MPIRUN_OPTIONS.  Under Slurm: srun --mpi=pmix ... lockstep bench scaling --csv FILE, then
# scripts/scaling_plot.py FILE OUT.svg.
set -eu
# shellcheck source=scripts/bench_job.sh
. "$(dirname "$0")/bench_job.sh"
plot=$(dirname "$0")/scaling_plot.py
cores=""
threads=""
out=build/scaling
take_options "hosts cores threads out" "$@"
shift "$taken"
cores=${cores:-$(count_cores)}
if [ -z "$threads" ]; then
    threads=1
    [ "$cores" = 1 ] || threads="1 $cores"
fi
n_hosts=1
if [ -n "$hosts" ]; then
    n_hosts=$(grep -cv -e '^[[:space:]]*#' -e '^[[:space:]]*$' "$hosts") || {
        echo "scaling.sh: '$hosts' names no host" >&2
        exit 2
    }
fi
mkdir -p "$out"
rm -f "$out/scaling.csv"
for n in $threads; do
    a_host=$((cores / n))
    if [ $a_host = 0 ]; then
        echo "scaling.sh: $n threads a rank are more than a host's $cores cores: leave it out of --threads, or state --cores" >&2
        exit 2
    fi
    # shellcheck disable=SC2086
    mpirun ${hosts:+--hostfile "$hosts"} --map-by "ppr:$a_host:node:PE=$n" --bind-to core -n $((a_host * n_hosts)) \
        ${LOCKSTEP_MPIRUN_OPTIONS:-} "$lockstep" bench scaling --threads "$n" --csv "$out/threads-$n.csv" "$@" >"$out/threads-$n.txt" || {
        status=$?
        echo "scaling.sh: $a_host ranks a host x $n threads: status $status" >&2
        exit $status
    }
    printf '\n== %s ranks a host x %s threads, %s host(s)\n' "$a_host" "$n" "$n_hosts"
    cat "$out/threads-$n.txt"
    if [ -f "$out/scaling.csv" ]; then
        tail -n +2 "$out/threads-$n.csv" >>"$out/scaling.csv"
    else
        cp "$out/threads-$n.csv" "$out/scaling.csv"
    fi
done
python3 "$plot" "$out/scaling.csv" "$out/scaling.svg"
