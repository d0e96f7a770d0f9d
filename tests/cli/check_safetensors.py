#!/usr/bin/env python3
"""Recomputes a model's predictions from its safetensors file, knowing nothing of lockstep's code.

MODEL        a saved model; its metadata "net" is the list of layers: "dense 128, relu, dense 10".
             Matrices are (out, in), as PyTorch stores them; the k-th dense layer has the tensors N.weight and N.bias with the
             k-th smallest number N.
IMAGES       one sample a line, its inputs separated by commas; --divide D divides each by D.
PREDICTIONS  what `lockstep predict` printed for them: a line "index,class,p0,p1,...", then one line a sample.

Everything is computed in binary64.  Each probability must agree to 1e-5, and the class must be one of the largest
probability, to the same tolerance.

The file is read by the Python package safetensors, and computed with numpy.  --own-parser reads it with the few lines below
instead, a weaker proof that other programs can; --own-arithmetic computes without numpy, slower.  Neither is chosen silently.

Exit status: 0 agree, 1 do not, 2 cannot be checked."""
import argparse
import array
import json
import math
import struct
import sys

TOLERANCE = 1e-5


class CannotCheck(Exception):
    pass


def load_with_package(path):
    try:
        from safetensors import safe_open
        import numpy
    except ImportError as missing:
        raise CannotCheck(f"{missing}; install it, or ask for --own-parser and --own-arithmetic")
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name, tensor in tensors.items():
        if tensor.dtype != numpy.float32:
            raise CannotCheck(f"tensor '{name}' is {tensor.dtype}, not float32")
    return metadata, {name: tensor.astype(numpy.float64).tolist() for name, tensor in tensors.items()}


def load_by_hand(path):
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    data = content[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if entry["dtype"] != "F32" or end - begin != 4 * math.prod(entry["shape"]):
            raise CannotCheck(f"tensor '{name}' is described by {entry}")
        numbers = array.array("f", data[begin:end])
        if sys.byteorder == "big":
            numbers.byteswap()
        numbers = list(numbers)
        if len(entry["shape"]) == 2:
            columns = entry["shape"][1]
            numbers = [numbers[i:i + columns] for i in range(0, len(numbers), columns)]
        tensors[name] = numbers
    return header.get("__metadata__", {}), tensors


ACTIVATIONS = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z)),
}


def build_net(text, tensors):
    """The layers as functions on (rows of) activations: ("dense", weight, bias) or ("act", function)."""
    numbers = sorted({int(name.split(".")[0]) for name in tensors if name.endswith(".weight")})
    layers = []
    for layer in text.replace("\n", ",").replace(";", ",").split(","):
        words = layer.split()
        if not words:
            continue
        if words[0] == "dense":
            if not numbers:
                raise CannotCheck(f"the net '{text}' has more dense layers than the file has weights")
            n = numbers.pop(0)
            weight = tensors[f"{n}.weight"]
            bias = tensors.get(f"{n}.bias", [0.0] * len(weight))
            if len(weight) != int(words[1]) or len(bias) != len(weight):
                raise CannotCheck(f"layer '{layer.strip()}' has a weight of {len(weight)} rows and {len(bias)} biases")
            if ("nobias" in words) == (f"{n}.bias" in tensors):
                raise CannotCheck(f"layer '{layer.strip()}' does not fit the tensors {sorted(tensors)}")
            layers.append(("dense", weight, bias))
        elif words[0] in ACTIVATIONS and len(words) == 1:
            layers.append(("act", words[0]))
        else:
            raise CannotCheck(f"unknown layer '{layer.strip()}' in the net '{text}'")
    if numbers:
        raise CannotCheck(f"the net '{text}' leaves the weights of {numbers} unused")
    return layers


def check_width(layer, width):
    if len(layer[1][0]) != width:
        raise CannotCheck(f"a weight of {len(layer[1])} x {len(layer[1][0])} does not fit {width} inputs")


def forward_plain(layers, rows):
    for row in rows:
        for layer in layers:
            if layer[0] == "act":
                row = [ACTIVATIONS[layer[1]](z) for z in row]
            else:
                check_width(layer, len(row))
                row = [math.fsum(map(float.__mul__, weights, row)) + bias for weights, bias in zip(layer[1], layer[2])]
        largest = max(row)
        powers = [math.exp(z - largest) for z in row]
        yield [power / math.fsum(powers) for power in powers]


def forward_numpy(layers, rows):
    try:
        import numpy
    except ImportError as missing:
        raise CannotCheck(f"{missing}; install it, or ask for --own-arithmetic")
    x = numpy.array(rows, dtype=numpy.float64)
    for layer in layers:
        if layer[0] == "act":
            x = {"relu": lambda z: numpy.maximum(z, 0), "tanh": numpy.tanh,
                 "sigmoid": lambda z: 0.5 * (1 + numpy.tanh(z / 2))}[layer[1]](x)
        else:
            check_width(layer, x.shape[1])
            x = x @ numpy.array(layer[1]).T + numpy.array(layer[2])
    x = numpy.exp(x - x.max(axis=1, keepdims=True))
    return (x / x.sum(axis=1, keepdims=True)).tolist()


def read_numbers(path, skip_header, divide=1.0):
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    rows = []
    for number, line in enumerate(lines[skip_header:], 1 + skip_header):
        try:
            rows.append([float(word) / divide for word in line.split(",")])
        except ValueError as wrong:
            raise CannotCheck(f"{path}:{number}: {wrong}")
    return lines[:skip_header], rows


def compare(expected, predictions, path):
    worst = 0.0
    for i, (p, row) in enumerate(zip(expected, predictions)):
        where = f"{path}:{i + 2}"
        if len(row) != len(p) + 2 or row[0] != i:
            return f"{where}: index {row[0]:g} and {len(row) - 2} probabilities; expected {i} and {len(p)}"
        for j, (mine, theirs) in enumerate(zip(p, row[2:])):
            if not abs(mine - theirs) <= TOLERANCE:  # a NaN fails
                return f"{where}: p{j} is {theirs:.9g}; recomputed {mine:.9g}"
            worst = max(worst, abs(mine - theirs))
        label = int(row[1])
        if not 0 <= label < len(p) or p[label] < max(p) - TOLERANCE:
            return f"{where}: class {label}; recomputed {p.index(max(p))}"
    print(f"{len(expected)} predictions agree, the worst probability to {worst:.3g}")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own-parser", action="store_true")
    parser.add_argument("--own-arithmetic", action="store_true")
    parser.add_argument("--divide", type=float, default=1.0)
    for name in ("model", "images", "predictions"):
        parser.add_argument(name)
    args = parser.parse_args()
    try:
        metadata, tensors = (load_by_hand if args.own_parser else load_with_package)(args.model)
        if "net" not in metadata:
            raise CannotCheck(f"'{args.model}' has no metadata 'net', only {sorted(metadata)}")
        layers = build_net(metadata["net"], tensors)
        _, images = read_numbers(args.images, 0, args.divide)
        header, predictions = read_numbers(args.predictions, 1)
        if not images or len(images) != len(predictions):
            raise CannotCheck(f"{len(images)} images and {len(predictions)} predictions")
        columns = header[0].split(",")
        if columns != ["index", "class"] + [f"p{j}" for j in range(len(columns) - 2)]:
            raise CannotCheck(f"'{args.predictions}' begins with '{header[0]}', not index,class,p0,p1,...")
        expected = list((forward_plain if args.own_arithmetic else forward_numpy)(layers, images))
    except (CannotCheck, OSError, ValueError, KeyError, struct.error) as wrong:
        print(f"cannot check: {wrong}", file=sys.stderr)
        return 2
    difference = compare(expected, predictions, args.predictions)
    if difference:
        print(difference, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
