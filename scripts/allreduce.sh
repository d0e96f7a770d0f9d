#!/bin/sh
# `lockstep bench allreduce` beside each of Open MPI's own algorithms: a table and a CSV.
#   scripts/allreduce.sh [--ranks N] [--hosts FILE] [--algorithms "ring rabenseifner"] [--out FILE.csv] [-- OPTION ...]
#   --ranks        2
#   --hosts        a file for mpirun's --hostfile; without: this machine
#   --algorithms   of MPI_Allreduce: default (what Open MPI chooses by itself), basic_linear, nonoverlapping,
#                  recursive_doubling, ring, segmented_ring, rabenseifner; all of them
#   --out          all figures (build/allreduce.csv); what follows -- goes to `bench allreduce`: --least-bytes, --seconds ...
# Open MPI fixes its algorithm when a job starts, so each is a job, and each job times the tree too: a ratio is of medians of
# one job, of rounds in turn.  Bits are compared before anything is timed.
set -eu
# shellcheck source=scripts/bench_job.sh
. "$(dirname "$0")/bench_job.sh"
ranks=2
algorithms="default basic_linear nonoverlapping recursive_doubling ring segmented_ring rabenseifner"
out=build/allreduce.csv
take_options "ranks hosts algorithms out" "$@"
shift "$taken"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$out")"
first=1
for algorithm in $algorithms; do
    case $algorithm in
    default) number="" ;;
    basic_linear) number=1 ;;
    nonoverlapping) number=2 ;;
    recursive_doubling) number=3 ;;
    ring) number=4 ;;
    segmented_ring) number=5 ;;
    rabenseifner) number=6 ;;
    *)
        echo "allreduce.sh: unknown algorithm '$algorithm': the head of this script lists them" >&2
        exit 2
        ;;
    esac
    # shellcheck disable=SC2086
    mpirun ${hosts:+--hostfile "$hosts"} ${number:+--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm $number} \
        -n "$ranks" ${LOCKSTEP_MPIRUN_OPTIONS:-} "$lockstep" bench allreduce --threads 1 --csv "$work/csv" "$@" >"$work/text" || {
        cat "$work/text" >&2
        echo "allreduce.sh: the job with $algorithm failed" >&2
        exit 1
    }
    [ $first = 0 ] || sed -n '1s/^/algorithm,/p' "$work/csv" >"$out"
    sed -n "2,\$s/^/$algorithm,/p" "$work/csv" >>"$out"
    first=0
done
# Columns of the CSV: algorithm, ranks, leaves, bytes, way, samples, best, quartile, median, quartile.
awk -F, -v algorithms="$algorithms" '
    NR == 1 { next }
    {
        at = $1 SUBSEP $4
        us[at, $5] = $9
        if (!($4 in known)) { known[$4] = 1; sizes[++n_sizes] = $4 }
        if (!ranks) ranks = $2
    }
    END {
        n = split(algorithms, name, " ")
        printf "%d ranks; microseconds of MPI_Allreduce, and how many times as long as the tree of the same job\n%12s", ranks, "bytes"
        for (i = 1; i <= n; i++) printf " %21s", name[i]
        printf " %12s\n", "fastest/tree"
        for (s = 1; s <= n_sizes; s++) {
            printf "%12d", sizes[s]
            least = -1
            for (i = 1; i <= n; i++) {
                at = name[i] SUBSEP sizes[s]
                tree = us[at, "own"]
                ratio = us[at, "mpi"] / tree
                if (least < 0 || ratio < least) least = ratio
                printf " %12.1f (%5.2fx)", us[at, "mpi"], ratio
            }
            printf " %11.2fx\n", least
        }
    }' "$out"
echo "all figures: $out"
