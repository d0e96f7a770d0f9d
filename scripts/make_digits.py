#!/usr/bin/python3
"""Makes src/data/digits.bin from the digits in Debian's python3-sklearn, or (--check) compares the committed file.

The file: 1,797 x 64 pixels, one byte each, 0..16; then 1,797 labels, one byte each, 0..9; in scikit-learn's order.
src/data/README.md credits the data.
"""
import pathlib
import sys

from sklearn.datasets import load_digits

TARGET = pathlib.Path(__file__).resolve().parent.parent / "src" / "data" / "digits.bin"


def digits():
    data = load_digits()
    pixels, labels = data.data, data.target
    assert pixels.shape == (1797, 64) and labels.shape == (1797,)
    assert (pixels == pixels.astype("uint8")).all() and pixels.max() == 16 and 0 <= labels.min() <= labels.max() == 9
    return pixels.astype("uint8").tobytes() + labels.astype("uint8").tobytes()


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    made = digits()
    if not arguments:
        TARGET.write_bytes(made)
        return f"{TARGET}: {len(made)} bytes"
    committed = TARGET.read_bytes()
    if committed == made:
        return f"{TARGET}: as made from scikit-learn"
    at = next((i for i, (a, b) in enumerate(zip(committed, made)) if a != b), min(len(committed), len(made)))
    sys.exit(f"{TARGET}: differs at byte {at} ({len(committed)} bytes committed, {len(made)} made)")


if __name__ == "__main__":
    print(main(sys.argv[1:]))
