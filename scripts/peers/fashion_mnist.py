"""Fashion-MNIST from its gzip files as NumPy arrays, for the contestants that are in Python."""
import gzip
import os
import pathlib

DATA = pathlib.Path(os.environ.get("LOCKSTEP_DATA", "/usr/share/datasets/fashion-mnist"))


def read_idx(name):
    import numpy as np
    with gzip.open(DATA / name) as file:
        raw = file.read()
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", dimensions, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def fashion_mnist():
    """Training pixels and labels, then those for testing."""
    import numpy as np
    for part in ("train", "t10k"):
        pixels = read_idx(f"{part}-images-idx3-ubyte.gz")
        yield pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
        yield read_idx(f"{part}-labels-idx1-ubyte.gz").astype(np.int64)
