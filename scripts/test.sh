#!/bin/sh
# What `make test` runs: builds each variant it needs, then tests it.
#   scripts/test.sh [PART ...]     parts: unit sanitize valgrind aarch64; all of them without arguments
#   unit       the Criterion program: units, command line, multi-rank cases, the matrix, and the builds that must fail
#   sanitize   the same without the matrix and its kin under AddressSanitizer and UBSan; some of those on 3 ranks
#   valgrind   short runs of the plain build
#   aarch64    other processors under emulation, and the build without MPI
#   tsan       ThreadSanitizer with clang and libomp; only when asked for (gcc's libgomp gives false reports)
# The last line is "N passed, M failed", over everything; each test of a Criterion program counts, and each check made here.
# Exit status 1 when anything failed or nothing was tested.
set -u
cd "$(dirname "$0")/.." || exit 2
# The builds below say what they are; what make was called with must not seep in.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
# A run of make test in one terminal must not be slowed down by active waiting: ranks and threads outnumber cores here.
export OMP_WAIT_POLICY=passive
export LSAN_OPTIONS="suppressions=$PWD/tests/support/lsan.supp:print_suppressions=0" \
    ASAN_OPTIONS=allocator_may_return_null=1
log=$(mktemp)
aside=$(mktemp)
trap 'rm -f "$log" "$aside"' EXIT
passed=0
failed=0
start=$(date +%s)

# Builds that only tests use: the bits do not depend on -O, and -O1 compiles faster; -g1 keeps the lines of a report, while
# -g takes the compiler half as long again.
fast='CFLAGS=-O1 -g1'

# check WHAT COMMAND ...: one check; its output is shown when it fails.
check() {
    what=$1
    shift
    began=$(date +%s)
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        sed -n 's/^skipped: */        skipped: /p' "$log"
        echo "ok      $what ($(($(date +%s) - began)) s)"
    else
        status=$?
        failed=$((failed + 1))
        tail -n 60 "$log"
        echo "FAILED  $what: status $status: $*"
        return 1
    fi
}

# build WHAT MAKE-ARGUMENT ...: counts only when it fails.
build() {
    what=$1
    shift
    began=$(date +%s)
    if make -j2 --no-print-directory "$@" >"$log" 2>&1; then
        echo "built   $what ($(($(date +%s) - began)) s)"
    else
        failed=$((failed + 1))
        grep -v '^  CC ' "$log" | tail -n 60
        echo "FAILED  the build of $what: make $*"
        return 1
    fi
}

# criterion WHAT PROGRAM ARGUMENT ...: adds what the program's synthesis counts.  Three tests at a time, however many cores
# there are: those under mpirun wait most of the time, and tests/support/launch.c lets four mpiruns run side by side.
criterion() {
    what=$1
    shift
    began=$(date +%s)
    "$@" -j3 --color=never >"$log" 2>&1
    status=$?
    counts=$(sed -n 's/.*Synthesis: Tested: \([0-9]*\) | Passing: \([0-9]*\) | Failing: \([0-9]*\) | Crashing: \([0-9]*\).*/\1 \2 \3 \4/p' "$log" | tail -n 1)
    # shellcheck disable=SC2086
    set -- ${counts:-0 0 0 0}
    passed=$((passed + $2))
    # A program that died, or a filter that matches nothing, is a failure too.
    # LeakSanitizer looks at a test's process when its result is known already.
    bad=$(($1 - $2 + $(grep -ac 'ERROR: LeakSanitizer' "$log")))
    if [ $bad = 0 ] && { [ "$1" = 0 ] || [ $status != 0 ]; }; then
        bad=1
    fi
    failed=$((failed + bad))
    if [ $bad != 0 ]; then
        cat "$log"
        echo "FAILED  $what: $bad of $1 tests, status $status ($(($(date +%s) - began)) s)"
        return 1
    fi
    sed -n 's/^skipped: */        skipped: /p' "$log"
    echo "ok      $what: $1 tests ($(($(date +%s) - began)) s)"
}

# on RANKS COMMAND ...: under mpirun; leaks of Open MPI are known by their callers, whom only slow unwinding finds.
on() {
    ranks=$1
    shift
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
        ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0 mpirun --oversubscribe --bind-to none --timeout 300 -n "$ranks" "$@"
}

build_default() {
    build "the program" WERROR=1 build/lockstep build/unit-tests build/mpi-cases build/fuzz-replay
}

# The safetensors package is no Debian package: it comes from PyPI, into a folder of the build.
python_packages() {
    build/venv/bin/python3 -c 'import safetensors.numpy' 2>/dev/null && return
    check "PyPI's safetensors for the check by another reader" sh -c \
        '/usr/bin/python3 -m venv build/venv && build/venv/bin/pip install --quiet safetensors numpy'
}

part_unit() {
    build_default || return
    python_packages
    build "mutant float-reduction" MUTANT=float-reduction build/mutant-float-reduction/mpi-cases
    build "mutant broken-tanh" MUTANT=broken-tanh build/mutant-broken-tanh/lockstep
    build "mutant local-batchnorm" MUTANT=local-batchnorm build/mutant-local-batchnorm/mpi-cases
    build "fault injection" FAULTS=1 build/faults/lockstep build/faults/mpi-cases
    build "without OpenMP" OMP=0 "$fast" build/noomp/mpi-cases
    criterion "all unit and multi-rank tests" build/unit-tests
    check "without OpenMP: a core for each rank" on "$(nproc)" build/noomp/mpi-cases pinned "$(nproc)"
    check "chaos: 3 runs killed and resumed" scripts/chaos.py --runs 3 --seed 5
    check "the inputs of tests/fuzz" build/fuzz-replay
    check "fewer threads than were asked for" tests/cli/fewer_threads.sh build/lockstep
    check "the table of a comparison with others" /usr/bin/python3 tests/cli/check_peers.py
    check "readers of data files against csv, NumPy, scikit-learn and h5py" /usr/bin/python3 scripts/check_readers.py build/lockstep
}

# Both sanitizers in one build: one after the other they find the same and take twice as long.  Ten epochs of Fashion-MNIST
# (70 to 90 s here) touch nothing that short runs do not.
part_sanitize() {
    # The oracle and the portable kernels call libm for each fused multiply-add where the compiler may not assume the
    # instruction, which was half of the time here; its bits are the same, and the plain build tests the calls.
    fma=
    grep -qw fma /proc/cpuinfo && fma=' -mfma'
    san=address+undefined
    at=build/$san
    build "$san" SAN=$san "$fast$fma" $at/lockstep $at/unit-tests $at/mpi-cases $at/fuzz-replay || return
    check "$san: the inputs of tests/fuzz" $at/fuzz-replay
    criterion "$san: unit tests" $at/unit-tests --filter '!(matrix/*|mutants/*|mpi/*|cli/fashion_mnist_is_learnt)'
    for case in allreduce allreduce-in-pieces agree hashes counts gather gather-too-much; do
        check "$san: $case on 3 ranks" on 3 $at/mpi-cases $case 3
    done
    check "$san: matrix on 3 ranks" on 3 $at/mpi-cases matrix 3 tree 2
    check "$san: train on 3 ranks" on 3 $at/lockstep train --steps 30 --threads 2 --hash-every 10 --momentum 0.9 \
        --net "dense 32, tanh, dense 16, sigmoid, dense 10" --save $at/model.safetensors --log $at/log.jsonl
    check "$san: a conv net with batch norm on 3 ranks" on 3 $at/lockstep train --steps 6 --threads 2 --batch 20 --microbatch 4 \
        --data synthetic:n=50,shape=3x9x8,classes=5,test=11 --augment flip,crop=1 --normalise channel --optimizer lamb \
        --net "conv 6 3x3 pad same, batchnorm, relu, residual { conv 6 3x3 pad 1 groups 2, batchnorm }, relu, maxpool 2, dropout 0.2, dense 5" \
        --accumulate 2 --ema 0.9 --clip-norm 1 --check-every 2 --keep best --save $at/conv.safetensors
    check "$san: eval on 3 ranks" on 3 $at/lockstep eval $at/model.safetensors
    check "$san: gradcheck" $at/lockstep gradcheck
}

part_valgrind() {
    build_default || return
    # valgrind 3.19 knows no AVX-512.  Without an mpirun around it the program never starts MPI.
    under="valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect --track-fds=no"
    # shellcheck disable=SC2086
    check "valgrind: serial" $under build/lockstep train --serial --steps 3 --data digits --net "dense 16, tanh, dense 10" \
        --momentum 0.9 --save build/valgrind.safetensors --log build/valgrind.jsonl
    rm -rf build/valgrind-checkpoints
    for steps in 3 5; do # the second goes on from the first
        # shellcheck disable=SC2086
        check "valgrind: checkpoints, $steps steps" $under build/lockstep train --serial --steps $steps --net "dense 16, tanh, dense 10" \
            --optimizer adam --ema 0.9 --keep best --checkpoint build/valgrind-checkpoints --resume build/valgrind-checkpoints --checkpoint-every 2
    done
    # shellcheck disable=SC2086
    check "valgrind: two threads of AVX2" env LOCKSTEP_ISA=avx2 $under build/lockstep train --threads 2 --steps 3 \
        --data digits --save build/valgrind.safetensors
    # shellcheck disable=SC2086
    check "valgrind: a conv net" env LOCKSTEP_ISA=avx2 $under build/lockstep train --threads 2 --steps 2 --batch 20 --microbatch 4 \
        --data synthetic:n=50,shape=3x9x8,classes=5,test=11 --augment flip,crop=1 --normalise channel --optimizer adam \
        --net "conv 6 3x3 pad same, batchnorm, relu, conv 9 3x3 stride 2 groups 3, gelu, maxpool 2, layernorm, dropout 0.2, dense 5"
    # shellcheck disable=SC2086
    check "valgrind: the inputs of tests/fuzz" $under build/fuzz-replay
    check "instructions of fixed runs, against tests/instructions.txt" scripts/instructions.sh
    # shellcheck disable=SC2086
    check "valgrind: predict" env LOCKSTEP_ISA=avx2 $under build/lockstep predict build/valgrind.safetensors
}

part_aarch64() {
    build_default || return
    build "without MPI" MPI=0 "$fast" build/nompi/lockstep build/nompi/mpi-cases
    build "AArch64" CROSS=aarch64 MPI=0 build/aarch64-nompi/lockstep build/aarch64-nompi/mpi-cases
    began=$(date +%s)
    tests/cli/aarch64.sh >"$log" 2>&1
    status=$?
    ok=$(grep -c '^ok ' "$log")
    bad=$(grep -c '^FAILED ' "$log")
    if [ "$bad" = 0 ] && { [ $status != 0 ] || [ "$ok" = 0 ]; }; then
        bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" = 0 ]; then
        sed -n 's/^ok /ok      /p' "$log"
        echo "        ($(($(date +%s) - began)) s)"
    else
        cat "$log"
    fi
}

part_tsan() {
    at=build/thread-clang
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1
    build "ThreadSanitizer" CC=clang-14 SAN=thread "$fast" $at/lockstep $at/mpi-cases || return
    check "tsan: matrix" $at/mpi-cases matrix 1
    rm -rf $at/checkpoints
    check "tsan: checkpoints" $at/lockstep train --threads 2 --epochs 2 --checkpoint $at/checkpoints --checkpoint-every 1step
    check "tsan: train" $at/lockstep train --threads 3 --batch 256 --steps 20
    check "tsan: lanes" $at/lockstep train --threads 2 --net softmax-regression --batch 256 --steps 20
    check "tsan: relay" $at/lockstep train --threads 2 --data synthetic:n=640,shape=28x28,classes=10,test=0 \
        --net "dense 128, relu, dense 10" --batch 64 --microbatch 64 --steps 20
}

# Valgrind and the emulator keep one core each: the latter's part runs as a test.sh of its own, and is told when both are through.
valgrind_beside_aarch64() {
    build_default || return # once, not by both at a time
    setsid scripts/test.sh aarch64 >"$aside" 2>&1 & # a group of its own: all of it ends when this is told to
    other=$!
    trap 'kill -- -$other; exit 130' INT TERM
    part_valgrind
    wait
    trap - INT TERM
    sed -e '/^[0-9]* s$/d' -e '/^[0-9]* passed, /d' "$aside"
    counts=$(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$aside")
    # shellcheck disable=SC2086
    set -- ${counts:-0 1}
    passed=$((passed + $1))
    failed=$((failed + $2))
}

for part in "${@:-all}"; do
    case $part in
    all)
        part_unit
        part_sanitize
        valgrind_beside_aarch64
        ;;
    unit | sanitize | valgrind | aarch64 | tsan) "part_$part" ;;
    *)
        echo "test.sh: unknown part '$part': unit, sanitize, valgrind, aarch64, tsan" >&2
        exit 2
        ;;
    esac
done
echo "$(($(date +%s) - start)) s"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
