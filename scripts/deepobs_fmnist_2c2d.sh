#!/bin/sh
# DeepOBS's problem fmnist_2c2d (Schneider, Balles, Hennig 2019, arXiv 1903.05499) for as many epochs as given.
#   scripts/deepobs_fmnist_2c2d.sh [adam|momentum|sgd] [EPOCHS] [OPTION OF TRAIN ...]        default: adam, 12
# Its net, first weights, batch size and published learning rates; its means over 10 seeds after 100 epochs are test accuracies of
# 92.34 % (Adam), 92.14 % (momentum), 92.27 % (SGD).  README.md says what was reached here.
set -eu
cd "$(dirname "$0")/.."
optimizer=${1:-adam}
epochs=${2:-12}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && shift
case $optimizer in
adam) rule="--optimizer adam --lr 0.0002512" ;;
momentum) rule="--optimizer sgd --lr 0.002512 --momentum 0.99" ;;
sgd) rule="--optimizer sgd --lr 0.1585" ;;
*)
    echo "deepobs_fmnist_2c2d.sh: unknown optimizer '$optimizer': adam, momentum, sgd" >&2
    exit 2
    ;;
esac
# shellcheck disable=SC2086
exec "${LOCKSTEP:-build/lockstep}" train --data fashion-mnist --net fmnist-2c2d --init truncated-normal=0.05 --init-bias 0.05 \
    --batch 128 --drop-last $rule --epochs "$epochs" "$@"
