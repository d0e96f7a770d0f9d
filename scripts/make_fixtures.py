#!/usr/bin/python3
"""Makes tests/fixtures/*.safetensors: what PyTorch says the losses, gradients and trained weights of small nets are.

lockstep agreeing with its own oracle shows that it is consistent, not that it is right.  These files are the second
opinion, by an automatic differentiation that shares no formula with ours.

  gradient_*.safetensors   one mini-batch through one net.  Inputs and parameters are binary32 numbers; PyTorch works in
                           binary64 from them and the answers are rounded once, so a difference is lockstep's own.
  inference_*.safetensors  one mini-batch through one net in eval mode, where batch norm uses its running averages.
  trajectory_*.safetensors one epoch of SGD over the digits, or its first steps, batch by batch in PyTorch's binary32, as a
                           user would run it;
                           and ten steps of every optimizer, in binary64 and rounded once: torch.optim's and
                           clip_grad_norm_'s, or for LARS and LAMB, which PyTorch has not, the papers' formulas below.

Everything is F32 and every metadata value a string.  A gradient file holds
  metadata  net, loss, batch, input_features; of images input_shape, "CHANNELSxHEIGHTxWIDTH";
            label_smoothing, huber_delta, class_weights where the loss has them
  x (B,K), images channels first;  labels (B), whole numbers, or values (B,N);  parameters as nn.Sequential numbers them:
  "0.weight" (out,in), ... and running averages before the pass
  z (B,N)   the net's output, images channels first;   loss (1)   the mean over the batch of the per-sample loss
  grad.x (B,K), grad.0.weight, ...   gradients of that mean;   after.1.running_mean, ...   running averages after the pass
An inference file has the same metadata without the loss, x, parameters and running averages, and z.
Per sample, `squared` is the sum over outputs of (z-t)^2, `half-squared` half of it, `bce` the sum over outputs of binary
cross-entropy on logits, `softmax` cross-entropy, `huber` the sum over outputs of Huber's, `hinge` the sum over the other
classes of max(0, 1 + z_j - z_label) or with a single output max(0, 1 - t z), t = -1 or 1.  For all but softmax and hinge,
labels stand for one-hot rows, or with a single output for the number itself.  Class weights multiply a sample's loss by the
weight of its label; the mean still divides by the batch.  A trajectory file holds
  metadata  net, loss, data, batch, lr, momentum, nesterov, weight_decay, shuffle, input_features, epochs, steps
            of ten steps: net, loss, data, batch, shuffle, input_features, steps, optimizer, and the rule's numbers that are
            not lockstep's defaults (skip_vectors: no decay of biases)
  initial.0.weight, ... and final.0.weight, ...;   step_loss: mean loss of each batch, before its update
  data.first, data.last: the first and the last training sample as (1,K); data.labels: their labels

Needs Debian's python3-torch and python3-sklearn, only here: tests read the committed files.

  scripts/make_fixtures.py            write them
  scripts/make_fixtures.py --check    exit 1 unless the committed ones agree with a regeneration to 1e-6
"""
import argparse
import copy
import json
import pathlib
import re
import struct
import sys

try:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F
except ImportError as error:
    sys.exit(f"make_fixtures: {error}; as root: apt-get install python3-torch python3-sklearn (and run /usr/bin/python3)")

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
TOLERANCE = 1e-6

# name: net, loss, targets, batch, inputs or (channels, height, width), scale of the weights.  Widths and batches straddle
# 16 lanes and leaves of 32.  New ones belong at the end: a fixture's seed is its place.
GRADIENTS = {
    "softmax_regression": ("dense 10", "softmax", "labels", 33, 17, 1),
    "one_sample": ("dense 33, relu, dense 16", "softmax", "labels", 1, 20, 1),
    "relu": ("dense 19, relu, dense 7", "softmax", "labels", 70, 13, 1),
    "tanh": ("dense 5, tanh, dense 3", "softmax", "labels", 7, 4, 1),
    "sigmoid": ("dense 16, sigmoid, dense 5", "softmax", "labels", 33, 9, 1),
    "deep_mixed": ("dense 31, relu, dense 17, tanh, dense 9 nobias, sigmoid, dense 8, relu, dense 4",
                   "softmax", "labels", 70, 15, 2),
    "wide": ("dense 65, relu, dense 35", "softmax", "labels", 97, 49, 1),
    "nobias": ("dense 4 nobias", "softmax", "labels", 33, 6, 1),
    "stacked_activations": ("relu, dense 6, tanh, relu, dense 3", "softmax", "labels", 33, 8, 1),
    "softmax_extreme": ("dense 20", "softmax", "labels", 33, 12, 30),
    "squared_values": ("dense 8, tanh, dense 3", "squared", "values", 7, 5, 1),
    "squared_labels": ("dense 12 nobias, relu, dense 4", "squared", "labels", 70, 10, 1),
    "half_squared_values": ("dense 9, sigmoid, dense 18", "half-squared", "values", 33, 7, 1),
    "half_squared_labels": ("dense 7, tanh, dense 5 nobias", "half-squared", "labels", 33, 6, 1),
    "half_squared_one_output": ("dense 1 nobias", "half-squared", "labels", 7, 1, 1),
    "sigmoid_output": ("dense 3, sigmoid", "half-squared", "values", 33, 11, 1),
    "bce_one_output": ("dense 6, tanh, dense 1", "bce", "labels", 33, 5, 1),
    "bce_labels": ("dense 11, relu, dense 5", "bce", "labels", 70, 8, 1),
    "bce_values": ("dense 14, sigmoid, dense 17", "bce", "values", 33, 6, 1),
    "bce_extreme": ("dense 6", "bce", "values", 33, 12, 30),
    "huber_values": ("dense 8, tanh, dense 18", "huber", "values", 33, 7, 1, {"huber_delta": "0.5"}),
    "huber_labels": ("dense 6, sigmoid, dense 4", "huber", "labels", 33, 5, 2, {"huber_delta": "1"}),
    "hinge": ("dense 9, relu, dense 17", "hinge", "labels", 70, 6, 1),
    "hinge_one_output": ("dense 4, tanh, dense 1", "hinge", "labels", 33, 5, 1),
    "smoothing": ("dense 7, tanh, dense 17", "softmax", "labels", 33, 6, 1, {"label_smoothing": "0.1"}),
    "class_weights": ("dense 5", "softmax", "labels", 70, 8, 1, {"class_weights": "2,0.5,0,1.25,3"}),
    "smoothing_class_weights": ("dense 5", "softmax", "labels", 33, 8, 1,
                                {"label_smoothing": "0.25", "class_weights": "2,0.5,0,1.25,3"}),
    "hinge_class_weights": ("dense 3", "hinge", "labels", 33, 7, 1, {"class_weights": "0.5,4,1"}),
    "conv": ("conv 5 3x3, flatten, dense 3", "softmax", "labels", 7, (2, 7, 6), 1),
    "conv_stride_pad": ("conv 17 3x2 stride 2x1 pad 1x0 nobias, relu, conv 4 2x3 stride 1x2 pad 1, dense 5",
                        "softmax", "labels", 11, (3, 9, 8), 1),
    "conv_5x5": ("conv 9 5x5 pad same, tanh, conv 3 5x3 pad 2x1, tanh, dense 3", "softmax", "labels", 7, (2, 6, 9), 1),
    "conv_1x1": ("conv 16 1x1, relu, conv 33 1x1 nobias, relu, conv 4 1x1 stride 2, dense 4",
                 "softmax", "labels", 6, (3, 5, 5), 1),
    "conv_groups": ("conv 12 3x3 pad same groups 2, relu, conv 6 3x3 groups 3 nobias, globalavgpool",
                    "softmax", "labels", 9, (4, 7, 7), 1),
    "conv_depthwise": ("conv 10 1x1, relu, conv 20 3x3 stride 2 pad same depthwise, relu, conv 8 1x1 nobias, relu, dense 5",
                       "softmax", "labels", 9, (3, 8, 7), 1),
    "conv_one_channel": ("conv 6 3x3 pad same, sigmoid, conv 1 3x3, dense 4", "softmax", "labels", 34, (1, 6, 6), 1),
    "maxpool": ("conv 6 2x2, maxpool 3x3 stride 2 pad 1, relu, maxpool 2x2, dense 4", "softmax", "labels", 9, (2, 10, 9), 1),
    "avgpool": ("avgpool 3x2 stride 2x1 pad 1, conv 6 2x2, avgpool 2x2, dense 4", "softmax", "labels", 9, (3, 9, 7), 1),
    "batchnorm_dense": ("dense 19 nobias, batchnorm, relu, dense 8 nobias, batchnorm momentum 0.3 epsilon 0.01, tanh, dense 5",
                        "softmax", "labels", 37, 9, 1),
    "batchnorm_image": ("conv 7 3x3 pad same nobias, batchnorm, relu, conv 5 3x3 nobias, batchnorm momentum 1, tanh, dense 3",
                        "softmax", "labels", 13, (3, 6, 5), 1),
    "batchnorm_input": ("batchnorm, dense 4", "half-squared", "values", 70, 6, 1),
    "layernorm": ("layernorm, dense 17, layernorm epsilon 0.001, tanh, dense 4", "softmax", "labels", 33, 11, 1),
    "layernorm_image": ("conv 5 3x3, layernorm, relu, conv 3 2x2, dense 4", "softmax", "labels", 7, (2, 7, 6), 1),
    "activations": ("dense 18, leakyrelu, dense 17, gelu, dense 9, softplus, dense 8, leakyrelu 0.25, dense 4",
                    "softmax", "labels", 33, 12, 1),
    "activations_extreme": ("dense 9, gelu, dense 9, softplus, dense 7", "half-squared", "values", 33, 6, 6),
    "softmax_layer": ("dense 19, softmax, dense 5, softmax", "squared", "labels", 33, 7, 2),
    "lenet5": ("conv 6 5x5 pad 2, relu, maxpool 2x2, conv 16 5x5, relu, maxpool 2x2, flatten, dense 24, relu, dense 10",
               "softmax", "labels", 5, (1, 16, 16), 1),
    "residual": ("conv 6 3x3 pad same nobias, batchnorm, relu, residual { conv 6 3x3 pad same nobias, batchnorm, relu, "
                 "conv 6 3x3 pad same nobias, batchnorm }, relu, residual { conv 10 3x3 stride 2 pad same nobias, batchnorm, relu, "
                 "conv 10 3x3 pad same nobias, batchnorm } shortcut { conv 10 1x1 stride 2 nobias, batchnorm }, relu, "
                 "globalavgpool, dense 5", "softmax", "labels", 13, (3, 8, 8), 1),
    "residual_nested": ("residual { residual { dense 9, tanh } shortcut { dense 9 nobias }, gelu, dense 9 } shortcut { dense 9 }, "
                        "relu, residual { softplus }, dense 4", "softmax", "labels", 33, 7, 1),
}
# name: net, batch, inputs.
INFERENCES = {
    "dense": ("dense 19, batchnorm, relu, dense 7, batchnorm epsilon 0.01, layernorm, dense 5, softmax", 33, 8),
    "residual": ("conv 6 3x3 pad same nobias, batchnorm, relu, residual { conv 8 3x3 stride 2 pad same nobias, batchnorm, relu, "
                 "conv 8 3x3 pad same nobias, batchnorm } shortcut { conv 8 1x1 stride 2 nobias, batchnorm }, relu, maxpool 2x2, "
                 "conv 3 1x1", 9, (2, 8, 7)),
}
PLAIN = "dense 32, relu, dense 10"
# name: the optimiser, the net, how many steps (None: the epoch).
TRAJECTORIES = {
    "momentum": ({"lr": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}, PLAIN, None),
    "nesterov": ({"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}, PLAIN, None),
    "batchnorm": ({"lr": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4},
                  "conv 8 3x3 pad same nobias, batchnorm, relu, maxpool 2x2, residual { conv 8 3x3 pad same nobias, batchnorm }, "
                  "relu, globalavgpool, dense 10", 10),
}
# lockstep's names of what differs from its defaults; weight decay is decoupled in AdamW and part of the gradient elsewhere.
TEN_STEPS = {
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "sgd_skip": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "skip_vectors": 1},
    "adagrad": {"optimizer": "adagrad", "lr": 0.02},
    "adagrad_l2": {"optimizer": "adagrad", "lr": 0.02, "weight_decay": 0.05},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.002},
    "rmsprop_momentum": {"optimizer": "rmsprop", "lr": 0.002, "momentum": 0.8, "alpha": 0.9, "weight_decay": 0.05},
    "adam": {"optimizer": "adam", "lr": 0.003},
    "adam_l2": {"optimizer": "adam", "lr": 0.003, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.05},
    "adamw": {"optimizer": "adamw", "lr": 0.003, "weight_decay": 0.5},
    "adamw_skip": {"optimizer": "adamw", "lr": 0.003, "weight_decay": 0.5, "skip_vectors": 1},
    "clip_norm": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "clip_norm": 0.2},
    "clip_value": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "clip_value": 0.02},
    "clip_norm_adam": {"optimizer": "adam", "lr": 0.003, "clip_norm": 0.2},
    "lars": {"optimizer": "lars", "lr": 2.0, "momentum": 0.9, "weight_decay": 0.05, "trust": 0.01},
    "lars_all": {"optimizer": "lars", "lr": 2.0, "momentum": 0.8, "trust": 0.01, "trust_skips": 0},
    "lamb": {"optimizer": "lamb", "lr": 0.01, "weight_decay": 0.05},
    "lamb_skip": {"optimizer": "lamb", "lr": 0.01, "weight_decay": 0.05, "beta1": 0.8, "skip_vectors": 1, "trust_skips": 1},
}


# --- safetensors, as small as it can be ---------------------------------------------------------------------------

def save(path, tensors, metadata):
    """Length of the header (u64), the header (JSON, padded with spaces to 8 bytes), the numbers."""
    header, blobs, end = {"__metadata__": metadata}, [], 0
    for name, value in tensors.items():
        blobs.append(np.ascontiguousarray(value, dtype="<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [end, end + len(blobs[-1])]}
        end += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(raw[8 + length + begin:8 + length + end], "<f4").reshape(entry["shape"])
    return tensors, metadata


# --- nets ---------------------------------------------------------------------------------------------------------

class Dense(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1))


class GlobalAveragePool(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Residual(nn.Module):
    """Its parameters are called main.* and shortcut.*."""
    def __init__(self, main, shortcut):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x):
        return self.main(x) + self.shortcut(x)


def parse(tokens):
    """[[word, ...] or [list, list or None], ...], up to the end or a closing brace."""
    items = []
    while tokens and tokens[0] != "}":
        words = [tokens.pop(0)]
        if words[0] == "residual":
            main = parse_block(tokens)
            items.append([main, parse_block(tokens) if shortcut_follows(tokens) else None])
        else:
            while tokens and tokens[0] not in (",", "}"):
                words.append(tokens.pop(0))
            items.append(words)
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    return items


def parse_block(tokens):
    assert tokens.pop(0) == "{"
    items = parse(tokens)
    assert tokens.pop(0) == "}"
    return items


def shortcut_follows(tokens):
    if tokens[:1] != ["shortcut"]:
        return False
    tokens.pop(0)
    return True


def pair(word):
    numbers = [int(number) for number in word.split("x")]
    return (numbers[0], numbers[-1])


def option(words, name, otherwise):
    return words[words.index(name) + 1] if name in words else otherwise


def convolution(words, channels):
    window = pair(words[2])
    pad = option(words, "pad", "0")
    return nn.Conv2d(channels, int(words[1]), window, stride=pair(option(words, "stride", "1")),
                     padding=tuple(k // 2 for k in window) if pad == "same" else pair(pad),
                     groups=channels if "depthwise" in words else int(option(words, "groups", 1)), bias="nobias" not in words)


def pool(kind, words):
    return kind(pair(words[1]), stride=pair(option(words, "stride", words[1])), padding=pair(option(words, "pad", "0")))


def layer_of(words, shape):
    """One layer that takes samples of this shape."""
    epsilon = float(option(words, "epsilon", 1e-5))
    makers = {
        "dense": lambda: Dense(int(np.prod(shape)), int(words[1]), bias="nobias" not in words),
        "conv": lambda: convolution(words, shape[0]),
        "maxpool": lambda: pool(nn.MaxPool2d, words),
        "avgpool": lambda: pool(nn.AvgPool2d, words),
        "globalavgpool": GlobalAveragePool,
        "batchnorm": lambda: (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(
            shape[0], eps=epsilon, momentum=float(option(words, "momentum", 0.1))),
        "layernorm": lambda: nn.LayerNorm(shape, eps=epsilon),
        "flatten": nn.Flatten,
        "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU,
        "leakyrelu": lambda: nn.LeakyReLU(float(words[1]) if len(words) > 1 else 0.01),
        "softplus": lambda: nn.Softplus(threshold=80),  # beyond its threshold PyTorch leaves the logarithm out
        "softmax": lambda: nn.Softmax(1),
    }
    return makers[words[0]]()


def sequence(items, shape):
    layers = []
    for item in items:
        if isinstance(item[0], list):
            main, _ = sequence(item[0], shape)
            layers.append(Residual(main, sequence(item[1], shape)[0] if item[1] else nn.Identity()))
        else:
            layers.append(layer_of(item, shape))
        with torch.no_grad():
            shape = tuple(copy.deepcopy(layers[-1]).eval()(torch.zeros((1,) + shape)).shape[1:])
    return nn.Sequential(*layers), shape


def build(net, inputs):
    """lockstep's net as an nn.Sequential in binary64, and the count of its outputs."""
    items = parse(re.findall(r"[{},]|[^\s{},]+", net))
    model, shape = sequence(items, inputs if isinstance(inputs, tuple) else (inputs,))
    return model.double(), int(np.prod(shape))


def draw(random, tensor, low, high):
    tensor.copy_(torch.from_numpy(random.uniform(low, high, tensor.shape).astype("f4")))


def initialise(model, random, scale=1.0):
    """He-like uniform weights and biases that are binary32 numbers, norms and running averages around where they start.
    numpy's RandomState is a frozen generator, torch's own is not."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                bound = scale * np.sqrt(6.0 / layer.weight[0].numel())
                for parameter in layer.parameters():
                    draw(random, parameter, -bound, bound)
            elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
                draw(random, layer.weight, 0.5, 1.5)
                draw(random, layer.bias, -0.5, 0.5)
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                draw(random, layer.running_mean, -0.5, 0.5)
                draw(random, layer.running_var, 0.5, 1.5)


def state(model):
    """Parameters and running averages, in lockstep's order: that of the layers."""
    return {key: value.detach().double().numpy().copy() for key, value in model.state_dict().items()
            if not key.endswith("num_batches_tracked")}


def one_number_an_output(labels, n_outputs):
    return labels[:, None] if n_outputs == 1 else F.one_hot(labels, n_outputs)


def per_sample_loss(kind, shape, z, labels, values):
    if kind == "softmax":
        smoothing = float(np.float32(shape.get("label_smoothing", "0")))
        return F.cross_entropy(z, labels, label_smoothing=smoothing, reduction="none")
    if kind == "hinge" and z.shape[1] == 1:
        return torch.clamp(1 - (2 * labels[:, None] - 1) * z, min=0).sum(1)
    if kind == "hinge":
        return F.multi_margin_loss(z, labels, p=1, reduction="none") * z.shape[1]  # torch divides by the classes
    t = (one_number_an_output(labels, z.shape[1]) if values is None else values).to(z.dtype)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(z, t, reduction="none").sum(1)
    if kind == "huber":
        return F.huber_loss(z, t, delta=float(shape["huber_delta"]), reduction="none").sum(1)
    return F.mse_loss(z, t, reduction="none").sum(1) * {"squared": 1.0, "half-squared": 0.5}[kind]


def mean_loss(kind, shape, z, labels, values):
    """torch's own class weights would divide by their sum, not by the batch."""
    loss = per_sample_loss(kind, shape, z, labels, values)
    if "class_weights" in shape:
        weights = torch.tensor([float(w) for w in shape["class_weights"].split(",")], dtype=z.dtype)
        loss = loss * weights[labels]
    return loss.mean()


def assert_clear_of_kinks(name, model, x):
    """A relu input within rounding of 0 may honestly fall on either side, and so may the larger of two near numbers: no
    fixture may hold such, except +0 itself, and except numbers that are the same (of which the first counts)."""
    def check_relu(_, inputs, __):
        near = inputs[0][inputs[0] != 0].abs().min()
        assert near > 1e-5, f"{name}: a relu input is too near 0, draw with another seed"

    def check_maxpool(layer, inputs, _):
        (x,), (k, l) = inputs, layer.kernel_size
        padded = F.pad(x, (layer.padding[1],) * 2 + (layer.padding[0],) * 2, value=-1e9)
        windows = F.unfold(padded, (k, l), stride=layer.stride).reshape(len(x), x.shape[1], k * l, -1)
        first, second = windows.topk(2, dim=2).values.unbind(2)
        assert ((first - second > 1e-5) | (first == second)).all(), f"{name}: two numbers of a window are too near"

    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
            layer.register_forward_hook(check_relu)
        elif isinstance(layer, nn.MaxPool2d):
            layer.register_forward_hook(check_maxpool)
    return model(x)


def assert_clear_of_margins(name, z, labels):
    """The same for the hinge."""
    margins = 1 - (2 * labels[:, None] - 1) * z if z.shape[1] == 1 else 1 + z - z.gather(1, labels[:, None])
    assert margins.abs().min() > 1e-5, f"{name}: a margin is too near 0, draw with another seed"


# --- the kinds of fixture -----------------------------------------------------------------------------------------

def differentiate(model, kind, shape, x, labels, values):
    """The output, the mean loss and every gradient of it, by autograd in the type of x; running averages after it."""
    model.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    z = model(x).flatten(1)
    loss = mean_loss(kind, shape, z, labels, values)
    loss.backward()
    answer = {"z": z, "loss": loss.reshape(1), "grad.x": x.grad.flatten(1)}
    answer.update({f"grad.{name}": p.grad for name, p in model.named_parameters()})
    answer.update({f"after.{name}": p for name, p in model.named_buffers() if not name.endswith("num_batches_tracked")})
    return {name: value.detach().double().numpy() for name, value in answer.items()}


def describe_input(inputs, batch):
    about = {"batch": str(batch), "input_features": str(int(np.prod(inputs)))}
    if isinstance(inputs, tuple):
        about["input_shape"] = "x".join(map(str, inputs))
    return about


def draw_input(random, inputs, batch):
    x = random.standard_normal((batch,) + (inputs if isinstance(inputs, tuple) else (inputs,))).astype("f4")
    x[random.uniform(size=x.shape) < 0.2] = 0  # as pixels often are
    return x


def gradient_fixture(name):
    net, kind, targets, batch, inputs, scale, *rest = GRADIENTS[name]
    shape = rest[0] if rest else {}
    random = np.random.RandomState(1 + list(GRADIENTS).index(name))
    model, n_outputs = build(net, inputs)
    initialise(model, random, scale)
    x = draw_input(random, inputs, batch)
    tensors = {"x": x.reshape(batch, -1)}
    labels = values = None
    if targets == "labels":
        drawn = random.randint(0, max(n_outputs, 2), batch)
        tensors["labels"] = drawn.astype("f4")
        labels = torch.from_numpy(drawn)
    else:
        drawn = random.uniform(size=(batch, n_outputs)) if kind == "bce" else random.standard_normal((batch, n_outputs))
        tensors["values"] = drawn.astype("f4")
        values = torch.from_numpy(tensors["values"])
    tensors.update({key: value.astype("f4") for key, value in state(model).items()})

    x64 = torch.from_numpy(x).double()
    z = assert_clear_of_kinks(name, model, x64)
    if kind == "hinge":
        assert_clear_of_margins(name, z, labels)
    single = copy.deepcopy(model).float()
    exact = differentiate(model, kind, shape, x64, labels, values)
    rounded = differentiate(single, kind, shape, torch.from_numpy(x), labels, values)
    tensors.update({key: value.astype("f4") for key, value in exact.items()})
    metadata = {"net": net, "loss": kind, **describe_input(inputs, batch), **shape}
    return tensors, metadata, worst_difference(rounded, exact)


def inference_fixture(name):
    net, batch, inputs = INFERENCES[name]
    random = np.random.RandomState(101 + list(INFERENCES).index(name))
    model, _ = build(net, inputs)
    initialise(model, random)
    x = draw_input(random, inputs, batch)
    tensors = {"x": x.reshape(batch, -1)}
    tensors.update({key: value.astype("f4") for key, value in state(model).items()})
    model.eval()
    with torch.no_grad():
        exact = {"z": model(torch.from_numpy(x).double()).flatten(1).numpy()}
        rounded = {"z": model.float()(torch.from_numpy(x)).flatten(1).double().numpy()}
    tensors["z"] = exact["z"].astype("f4")
    return tensors, {"net": net, **describe_input(inputs, batch)}, worst_difference(rounded, exact)


def trajectory_fixture(name):
    rule, net, steps = TRAJECTORIES[name]
    n_train, batch = 1500, 64
    digits = load_digits()
    x = torch.from_numpy((digits.data[:n_train] / 16).astype("f4"))
    labels = torch.from_numpy(digits.target[:n_train])
    ends = [0, n_train - 1]
    data = {"data.first": x[:1].numpy(), "data.last": x[-1:].numpy(), "data.labels": labels[ends].float().numpy()}
    inputs = (1, 8, 8) if "conv" in net else 64
    model, _ = build(net, inputs)
    initialise(model, np.random.RandomState(7), scale=0.5)
    initial = state(model)
    if steps:
        x, labels = x[:steps * batch].reshape((-1,) + inputs), labels[:steps * batch]

    single = copy.deepcopy(model).float()
    exact = train(model, x.double(), labels, batch, rule)
    single = train(single, x, labels, batch, rule)

    tensors = {f"initial.{key}": value for key, value in initial.items()}
    tensors.update({key: value.astype("f4") for key, value in single.items()})
    tensors.update(data)
    metadata = {"net": net, "loss": "softmax", "data": f"digits, the first {n_train}, in file order", "shuffle": "off",
                "batch": str(batch), "input_features": "64", "epochs": "1",
                "lr": str(rule["lr"]), "momentum": str(rule["momentum"]), "weight_decay": str(rule["weight_decay"]),
                "nesterov": "1" if rule["nesterov"] else "0"}
    if steps:
        metadata["steps"] = str(steps)
    return tensors, metadata, worst_difference(single, exact)


def train(model, x, labels, batch, rule):
    """One epoch in order, no shuffle; the last batch is whatever is left."""
    optimiser = torch.optim.SGD(model.parameters(), **rule)
    losses = []
    for start in range(0, len(x), batch):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x[start:start + batch]), labels[start:start + batch])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    answer = {"step_loss": np.array(losses)}
    answer.update({f"final.{key}": value for key, value in state(model).items()})
    return answer


class Layerwise:
    """LARS (You, Gitman, Ginsburg 2017, arXiv 1708.03888, algorithm 1) and LAMB (You et al. 2019, arXiv 1904.00962,
    algorithm 2), in numpy's binary64 and with nothing of lockstep.  Vectors keep the plain rate under trust_skips (LARS'
    default); a tensor whose norm is 0 does too."""

    def __init__(self, parameters, rule):
        self.parameters, self.rule, self.t = list(parameters), rule, 0
        self.m = [np.zeros(p.shape) for p in self.parameters]
        self.v = [np.zeros(p.shape) for p in self.parameters]

    def ratio(self, w, above, below, scale=1.0):
        skips = self.rule.get("trust_skips", 1 if self.rule["optimizer"] == "lars" else 0)
        return scale * above / below if above > 0 and below > 0 and not (skips and w.ndim == 1) else 1.0

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    def step(self):
        self.t += 1
        for i, p in enumerate(self.parameters):
            w, g = p.detach().double().numpy().copy(), p.grad.double().numpy()
            decay = 0.0 if self.rule.get("skip_vectors") and w.ndim == 1 else self.rule.get("weight_decay", 0.0)
            w = (self.lars if self.rule["optimizer"] == "lars" else self.lamb)(i, w, g, decay)
            with torch.no_grad():
                p.copy_(torch.from_numpy(w))

    def lars(self, i, w, g, decay):
        of_w, of_g = np.linalg.norm(w), np.linalg.norm(g)
        local = self.ratio(w, of_w, of_g + decay * of_w if of_g > 0 else 0.0, self.rule["trust"])
        self.m[i] = self.rule["momentum"] * self.m[i] + self.rule["lr"] * local * (g + decay * w)
        return w - self.m[i]

    def lamb(self, i, w, g, decay):
        beta1, beta2 = self.rule.get("beta1", 0.9), self.rule.get("beta2", 0.999)
        self.m[i] = beta1 * self.m[i] + (1 - beta1) * g
        self.v[i] = beta2 * self.v[i] + (1 - beta2) * g * g
        r = self.m[i] / (1 - beta1 ** self.t) / (np.sqrt(self.v[i] / (1 - beta2 ** self.t)) + 1e-6) + decay * w
        return w - self.rule["lr"] * self.ratio(w, np.linalg.norm(w), np.linalg.norm(r)) * r


def make_optimiser(model, rule):
    kind = rule["optimizer"]
    if kind in ("lars", "lamb"):
        return Layerwise(model.parameters(), rule)
    numbers = {key: rule[key] for key in ("lr", "momentum", "alpha") if key in rule}
    if "beta1" in rule:
        numbers["betas"] = (rule["beta1"], rule["beta2"])
    decay = rule.get("weight_decay", 0.0)
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": decay},
              {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0 if "skip_vectors" in rule else decay}]
    made = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "rmsprop": torch.optim.RMSprop,
            "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    return made(groups, **numbers)


def train_ten_steps(model, x, labels, batch, rule):
    optimiser, losses = make_optimiser(model, rule), []
    for start in range(0, 10 * batch, batch):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x[start:start + batch]), labels[start:start + batch])
        loss.backward()
        if "clip_norm" in rule:
            norm = nn.utils.clip_grad_norm_(model.parameters(), rule["clip_norm"])
            assert norm > 1.1 * rule["clip_norm"], f"a gradient of norm {norm} is not clipped: nothing would be tested"
        if "clip_value" in rule:
            assert any((p.grad.abs() > 1.1 * rule["clip_value"]).any() for p in model.parameters())
            nn.utils.clip_grad_value_(model.parameters(), rule["clip_value"])
        optimiser.step()
        losses.append(loss.item())
    answer = {"step_loss": np.array(losses)}
    answer.update({f"final.{key}": p.detach().double().numpy().copy() for key, p in model.named_parameters()})
    return answer


def ten_steps_fixture(name):
    rule = TEN_STEPS[name]
    net, n_train, batch = "dense 12, tanh, dense 10", 1500, 64
    digits = load_digits()
    x = torch.from_numpy((digits.data[:n_train] / 16).astype("f4"))
    labels = torch.from_numpy(digits.target[:n_train])
    model, _ = build(net, x.shape[1])
    initialise(model, np.random.RandomState(7), scale=0.5)
    initial = {key: p.detach().float().numpy().copy() for key, p in model.named_parameters()}
    exact = train_ten_steps(model, x.double(), labels, batch, rule)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(initial[key]))
    single = train_ten_steps(model.float(), x, labels, batch, rule)
    ends = [0, n_train - 1]
    tensors = {f"initial.{key}": value for key, value in initial.items()}
    tensors.update({key: value.astype("f4") for key, value in exact.items()})
    tensors.update({"data.first": x[:1].numpy(), "data.last": x[-1:].numpy(), "data.labels": labels[ends].float().numpy()})
    metadata = {"net": net, "loss": "softmax", "data": f"digits, the first {n_train}, in file order", "shuffle": "off",
                "batch": str(batch), "input_features": str(x.shape[1]), "steps": "10"}
    metadata.update({key: str(value) for key, value in rule.items()})
    return tensors, metadata, worst_difference(single, exact)


# --- writing and checking -----------------------------------------------------------------------------------------

def worst_difference(got, want):
    """The largest |a-b| / (1+|b|) over all tensors: small numbers count by their absolute, large by relative error."""
    return max((np.abs(got[name].astype("f8") - want[name]) / (1 + np.abs(want[name]))).max() for name in want)


def every_fixture():
    for name in GRADIENTS:
        yield (f"gradient_{name}.safetensors",) + gradient_fixture(name)
    for name in INFERENCES:
        yield (f"inference_{name}.safetensors",) + inference_fixture(name)
    for name in TRAJECTORIES:
        yield (f"trajectory_{name}.safetensors",) + trajectory_fixture(name)
    for name in TEN_STEPS:
        yield (f"trajectory_{name}.safetensors",) + ten_steps_fixture(name)


def disagreement(path, tensors, metadata):
    """What is wrong with the committed file, or None."""
    if not path.exists():
        return "missing"
    old, old_metadata = load(path)
    if old_metadata != metadata:
        return f"metadata {old_metadata}, expected {metadata}"
    if list(old) != list(tensors):
        return f"tensors {list(old)}, expected {list(tensors)}"
    for name, value in tensors.items():
        if old[name].shape != value.shape:
            return f"'{name}' is {old[name].shape}, expected {value.shape}"
        if not (np.isfinite(old[name]).all() and np.isfinite(value).all()):
            return f"'{name}' is not finite"
        if worst_difference({name: old[name]}, {name: value}) > TOLERANCE:
            return f"'{name}' differs by {worst_difference({name: old[name]}, {name: value}):.3g}, allowed {TOLERANCE:g}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare the files in tests/fixtures")
    check = parser.parse_args().check
    FIXTURES.mkdir(parents=True, exist_ok=True)
    print(f"PyTorch {torch.__version__}, numpy {np.__version__}")
    print(f"{'file':45} {'bytes':>7}  {'batch':>5}  binary32 against binary64, within PyTorch")
    wrong, total, known = 0, 0, set()
    for file, tensors, metadata, rounding in every_fixture():
        path = FIXTURES / file
        known.add(path)
        complaint = None
        if check:
            complaint = disagreement(path, tensors, metadata)
        else:
            save(path, tensors, metadata)
        size = path.stat().st_size if path.exists() else 0
        total += size
        wrong += complaint is not None
        print(f"{file:45} {size:7}  {metadata['batch']:>5}  {rounding:.1e}" + (f"  WRONG: {complaint}" if complaint else ""))
    for path in sorted(set(FIXTURES.glob("*.safetensors")) - known):
        wrong += 1
        print(f"{path.name}: not made by this script")
    print(f"{len(known)} fixtures, {total} bytes" + (f", {wrong} wrong" if check else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
