#!/bin/sh
# Installs what a target needs and this machine lacks: scripts/deps.sh GOAL ...
#   build    compiler, make and the libraries of the program          nompi, nohdf5: without
#   test     build, and what `make test` uses                         aarch64: the cross compiler and its libraries
#   demo     build, and Fashion-MNIST                                 lint, bench, fuzz, fixtures, sim: their tools
# On Debian it uses apt, as root or through sudo without a password; where it may not, it prints the command to run and
# stops.  When nothing is missing it does nothing, and asks no network.
set -eu

build="gcc make pkg-config libc6-dev libxxhash-dev libjansson-dev libdeflate-dev libzip-dev libcsv-dev zlib1g-dev libhdf5-dev libopenmpi-dev openmpi-bin"
aarch64="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libxxhash-dev:arm64 libjansson-dev:arm64 libdeflate-dev:arm64 libzip-dev:arm64 libcsv-dev:arm64 zlib1g-dev:arm64"
packages=""
with_mpi=1
with_hdf5=1
foreign=0
for goal in "$@"; do
    case $goal in
    build) packages="$packages $build" ;;
    demo) packages="$packages $build dataset-fashion-mnist" ;;
    test) packages="$packages $build libcriterion-dev dataset-fashion-mnist python3 python3-numpy python3-h5py python3-sklearn python3-venv" ;;
    valgrind) packages="$packages valgrind" ;;
    tsan) packages="$packages clang-14 libomp-14-dev libclang-rt-14-dev" ;;
    fuzz) packages="$packages clang-14 libclang-rt-14-dev g++" ;;
    sanitize) packages="$packages libasan8 libubsan1" ;;
    lint) packages="$packages clang-format-14 clang-14 shellcheck git" ;;
    bench) packages="$packages $build python3 python3-venv python3-dev g++ python3-numpy python3-sklearn libopenblas-dev libopenblas0-pthread dataset-fashion-mnist" ;;
    sim) packages="$packages $build libsimgrid-dev python3" ;;
    fixtures) packages="$packages python3 python3-h5py python3-numpy python3-torch python3-sklearn" ;;
    nompi) with_mpi=0 ;;
    nohdf5) with_hdf5=0 ;;
    aarch64) packages="$packages $aarch64" foreign=1 ;;
    *)
        echo "deps.sh: unknown goal '$goal'" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    # Not Debian: say what to have, by what can be looked for.
    missing=""
    for library in libxxhash jansson libdeflate libzip zlib; do
        pkg-config --exists "$library" 2>/dev/null || missing="$missing $library"
    done
    echo '#include <csv.h>' | ${CC:-cc} -E - >/dev/null 2>&1 || missing="$missing libcsv"
    [ $with_hdf5 = 0 ] || pkg-config --exists hdf5 2>/dev/null || missing="$missing hdf5"
    [ $with_mpi = 0 ] || command -v mpicc >/dev/null 2>&1 || missing="$missing mpicc(Open-MPI)"
    [ -z "$missing" ] && exit 0
    echo "deps.sh: this is not Debian, and these are missing:$missing; install their development packages" >&2
    exit 1
fi

installed() {
    # An arch-less name means this machine's own architecture.
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | head -c 9)" = installed ]
}

missing=""
for package in $packages; do
    case $package in
    *openmpi*) [ $with_mpi = 1 ] || continue ;;
    *hdf5*) [ $with_hdf5 = 1 ] || continue ;;
    esac
    case " $missing " in
    *" $package "*) continue ;;
    esac
    case $package in
    *:*) installed "$package" || missing="$missing $package" ;;
    *) installed "$package" || installed "$package:$(dpkg --print-architecture)" || missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

# The libraries of the other architecture need their twins here at the same version: name both, or apt may swap them.
add_architecture=""
if [ $foreign = 1 ]; then
    dpkg --print-foreign-architectures | grep -qx arm64 || add_architecture="dpkg --add-architecture arm64 && "
    missing="$missing libxxhash-dev libjansson-dev libdeflate-dev libzip-dev libcsv-dev zlib1g-dev"
fi
command="${add_architecture}apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    root="sh -c"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    root="sudo -n sh -c"
else
    echo "deps.sh: these packages are missing, and this user may not install them:$missing" >&2
    echo "deps.sh: run as root:  $command" >&2
    exit 1
fi
echo "deps.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$root "$command" >&2
