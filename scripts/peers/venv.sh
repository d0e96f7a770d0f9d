#!/bin/sh
# Makes the Python that the benchmark's PyTorch runs in, build/peers-venv, with the newest PyTorch of PyPI; when it is there, nothing.
#   scripts/peers/venv.sh [PIP-ARGUMENT ...]      arguments go to pip, as torch==2.9.0
# PyPI's wheel for x86-64 cannot be imported without the NVIDIA libraries it was linked with, so pip brings them too: 2.5 GB
# to download, 5 GB on disk, none of it used here.  `make clean` removes it.
set -eu
cd "$(dirname "$0")/../.."
venv=build/peers-venv
if [ $# = 0 ] && "$venv/bin/python3" -c 'import numpy, torch' 2>/dev/null; then
    exit 0
fi
[ $# != 0 ] || set -- torch
mkdir -p build
/usr/bin/python3 -m venv "$venv"
"$venv/bin/python3" -m pip install --quiet --no-compile numpy setuptools "$@"
"$venv/bin/python3" -c 'import numpy, torch; print("PyTorch", torch.__version__, "in build/peers-venv")'
