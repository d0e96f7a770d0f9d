#!/usr/bin/python3
"""Holds lockstep's readers of data files to the programs that files come from.

Files are drawn by key, full of what is awkward in each format, and written by Python's csv, scikit-learn, NumPy, h5py or, where
a format is a few lines of documentation, by those.  `lockstep convert FILE out.lsd` shows what lockstep reads: the .lsd file is
taken apart here, by src/data/lsd.h alone.  Inputs must have the bits of what csv, sklearn.datasets.load_svmlight_file,
numpy.load or h5py read, as binary32; labels, values, class names and shapes must be theirs.  Text becomes binary32 by exact
rational arithmetic: float32(float(text)) would round twice.  Files that lockstep refuses must be refused by the other program
too, or be among those where lockstep is stricter, each with the reason beside it.

  scripts/check_readers.py LOCKSTEP [--seed N] [--rounds N] [--keep FOLDER]

A package that is missing skips its part, which is said.  Exit status: 0 all agree, 1 some do not, 2 nothing can be checked."""
import argparse
import csv
import gzip
import io
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
from fractions import Fraction

try:
    import numpy as np
except ImportError as error:
    print(f"skipped: readers against other programs: {error}")
    sys.exit(0)


# ---- .lsd, as src/data/lsd.h describes it ----

class Lsd:
    def __init__(self, path):
        data = path.read_bytes()
        assert data[:8] == b"\x89LSD\r\n\x1a\n", "magic"
        version, order, size, element, self.divisor, n_dims, self.n_classes = struct.unpack_from("<IIQIfII", data, 8)
        assert (version, order, size) == (1, 0x01020304, len(data)), "version, byte order or size"
        dims = struct.unpack_from("<4Q", data, 40)
        assert dims[n_dims:] == (0,) * (4 - n_dims), "dimensions behind the last"
        self.dims = dims[:n_dims]
        self.n_values, names_bytes, n_names, zero, block = struct.unpack_from("<QQIIQ", data, 72)
        assert zero == 0 and block > 0 and not any(data[216:4080]), "what is 0"
        self.names = data[4096:4096 + names_bytes].decode().split("\0")[:-1]
        assert len(self.names) == n_names
        at = 4096
        if names_bytes:
            at = self.next_page(data, at + names_bytes)
        self.parts = []
        kind = np.dtype("u1" if element == 1 else "<f4")
        assert (element == 1) == (self.divisor != 0), "a divisor is of bytes"
        for place in (104, 144):
            n, *sections = struct.unpack_from("<5Q", data, place)
            part = []
            for offset, dtype, width in zip(sections, (kind, np.dtype("<i4"), np.dtype("<f4")),
                                            (int(np.prod(self.dims)), int(self.n_classes > 0), self.n_values)):
                assert (offset > 0) == (n * width > 0), "an offset without a section"
                part.append(None)
                if offset:
                    assert offset == at, f"a section begins at {offset}, not at {at}"
                    part[-1] = np.frombuffer(data, dtype, n * width, offset).reshape(n, width)
                    at = self.next_page(data, at + n * width * dtype.itemsize)
            if n:
                self.parts.append(part)

    @staticmethod
    def next_page(data, at):
        end = -(-at // 4096) * 4096
        assert not any(data[at:end]), "padding is 0"
        return end


# ---- decimal text ----

def float32_of(text):
    """The nearest binary32, ties to even; None beyond the largest."""
    exact = Fraction(text.strip())
    if abs(exact) >= 2**128 - 2**103:
        return None
    with np.errstate(over="ignore"):
        near = np.float32(float(text))
        if np.isinf(near):
            near = np.copysign(np.float32(3.4028234663852886e38), near)
        around = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    best = min((x for x in around if np.isfinite(x)),
               key=lambda x: (abs(Fraction(float(x)) - exact), int(np.float32(x).view("u4")) & 1))
    return np.copysign(best, np.float32(-1 if text.strip().startswith("-") else 1))


def decimal(exact):
    """A binary fraction, with all of its digits."""
    shift = max(0, exact.denominator.bit_length() - 1)
    digits = abs(exact.numerator) * 5**shift  # over 10^shift
    sign = "-" if exact < 0 else ""
    text = str(digits).rjust(shift + 1, "0")
    return sign + (text[:-shift] + "." + text[-shift:] if shift else text)


PLAIN = ["0", "-0", "-0.0", "+0", "0e999", "-0e-5", ".0", "0.", "000", "+5", ".5", "5.", "-.5e-3", "1E+05", "007", "1e0005",
         "1e-400", "-1e-400", "1e-46", "7.006492321624085e-46", "7.0064923216240854e-46", "7.00649232162408536e-46",
         "1.401298464324817e-45", "1.1754943508222875e-38", "1.1754942e-38", "3.4028234663852886e38", "-3.4028235677973362e+38",
         "3.40282356779733661637539395458142568447e38", "16777217", "16777219", "9007199254740993", "18446744073709551615",
         "99999999999999999999", "123456789012345678901234567890", "0.1", "1e22", "1e23", "8.589973e9",
         "1.00000017881393432617187499", "1.00000017881393432617187500", "1.00000017881393432617187501", "0." + "0" * 30 + "1",
         "1" + "0" * 30, "1" + "0" * 38 + "e-20"]


def number(rng):
    way = rng.randrange(8)
    bits = rng.getrandbits(32)
    if bits >> 23 & 255 == 255:
        bits ^= 1 << 30
    if way == 7:
        bits &= 0x807FFFFF  # subnormal
    x = np.array([bits], "u4").view("f4")[0]
    if way == 0:
        return rng.choice(PLAIN)
    if way == 1:
        return str(rng.randrange(-300, 300))
    if way == 2:
        return repr(float(x)) if rng.random() < 0.5 else str(x)
    if way == 3:
        return f"{rng.uniform(-10, 10):.{rng.randrange(1, 25)}{rng.choice('feE')}}"
    # halfway to a neighbour, or a hair beside that
    high = np.nextafter(x, np.float32(0))
    tie = (Fraction(float(x)) + Fraction(float(high))) / 2
    text = decimal(tie)
    if way == 4 and "." in text:
        text += rng.choice(["0", "1", "000001"])
    elif way == 5 and "." in text and text[-1] != "0":
        text = text[:-1] + str(int(text[-1]) - 1) + "9" * rng.randrange(1, 9)
    return text


# ---- the two programs ----

class Check:
    def __init__(self, lockstep, folder, seed):
        self.lockstep, self.folder, self.seed = lockstep, pathlib.Path(folder), seed
        self.read = self.refused = 0
        self.wrong = []

    def rng(self, key):
        self.key = f"{self.seed} {key}"
        return random.Random(self.key)

    def convert(self, spec):
        out = self.folder / "out.lsd"
        out.unlink(missing_ok=True)
        done = subprocess.run([self.lockstep, "convert", "--quiet", spec, out], capture_output=True, text=True)
        return done.returncode, done.stderr.strip(), out

    def differ(self, spec, what):
        self.wrong.append(f"[{self.key}] {spec}: {what}")

    def reads(self, spec, x, labels=None, values=None, names=None, test=None, divisor=None):
        """x (n, ...), labels (n), values (n, k): what the other program says.  test: the same of the test part."""
        self.read += 1
        status, message, out = self.convert(spec)
        if status != 0:
            return self.differ(spec, f"refused with {status}: {message}")
        try:
            lsd = Lsd(out)
        except (AssertionError, struct.error) as error:
            return self.differ(spec, f"the .lsd file is not as documented: {error}")
        if lsd.names != (names or []):
            self.differ(spec, f"class names {lsd.names}, not {names}")
        dims = x.shape[1:] or (1,)
        if lsd.dims != dims:
            return self.differ(spec, f"shape {lsd.dims}, not {dims}")
        if divisor and lsd.divisor != divisor:
            self.differ(spec, f"divisor {lsd.divisor:g}, not {divisor}")
        wanted = [(x, labels, values)] + ([test] if test else [])
        if len(lsd.parts) != len(wanted):
            return self.differ(spec, f"{len(lsd.parts)} parts, not {len(wanted)}")
        for part, three in zip(lsd.parts, wanted):
            for what, found, expected, kind in zip(("input", "label", "value"), part, three, ("f4", "i4", "f4")):
                self.same(spec, what, found, expected, "u1" if what == "input" and lsd.divisor else kind)
        return None

    def same(self, spec, what, found, expected, kind):
        if (found is None) != (expected is None):
            return self.differ(spec, f"{what}s: {'none' if found is None else 'some'}, unlike the other program")
        if found is None:
            return None
        expected = np.asarray(expected).astype(kind).reshape(len(expected), -1)
        if found.shape != expected.shape:
            return self.differ(spec, f"{what}s of shape {found.shape}, not {expected.shape}")
        bits = {"f4": "u4", "i4": "u4", "u1": "u1"}[kind]
        bad = np.argwhere(np.ascontiguousarray(found).view(bits) != np.ascontiguousarray(expected).view(bits))
        if len(bad):
            i, j = bad[0]
            self.differ(spec, f"{what} {j} of sample {i} is {found[i, j]!r}, not {expected[i, j]!r} ({len(bad)} differ)")
        return None

    def refuses(self, spec, words, other=None):
        """Refused with these words by lockstep, and by other(), unless it is None: lockstep is stricter."""
        self.refused += 1
        status, message, _ = self.convert(spec)
        if status not in (2, 3):
            self.differ(spec, f"status {status}, should be refused: {message}")
        elif words not in message:
            self.differ(spec, f"refused, but '{words}' is not in: {message}")
        if other:
            try:
                other()
            except (ValueError, csv.Error, OSError):
                return
            self.differ(spec, f"the other program takes it; lockstep: {message}")

    def write(self, name, data, packed=False):
        path = self.folder / (name + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(data) if packed else data)
        return path


def as_classes(texts):
    """README: in the order of numbers when all are whole numbers, else of bytes; 0, 1, ... have no names."""
    whole = []
    for text in texts:
        try:
            whole.append(int(Fraction(text)) if Fraction(text).denominator == 1 else None)
        except ValueError:
            whole.append(None)
    plain = [text if n is None else str(n) for text, n in zip(texts, whole)]
    names = sorted(set(plain), key=int if None not in whole else str.encode)
    return [names.index(text) for text in plain], [] if names == [str(k) for k in range(len(names))] else names


# ---- csv ----

MISSING = ["", "NA", "n/a", "NaN", "null", "None", "?"]
NASTY = ["", 'said "no"', "a,b;c|d", "line\nbreak", "line\r\nbreak", '"', '""', "tab\there", "\u00e4\u4e2d", " blank ", "#", "'",
         "1e999"]
LABELS = [["red", "green", "blue, dark", '"q"', "\u00e9t\u00e9"], ["0", "1", "2"], ["-1", "+1"], ["10", "9", "2.0", "1e0"],
          ["1", "b", "02"]]
CSV_NAMES = ["a", "b, c", 'the "d"', "e;f|g", "h\ti", "\u03bb", "k l", "m'n"]


def csv_text(rows, rng, delimiter, end, pad):
    out = []
    for row in rows:
        fields = []
        for text in row:
            blank = " " * rng.randrange(3) if pad else ""
            if any(c in text for c in delimiter + '"\r\n') or rng.random() < 0.1:
                fields.append(blank + '"' + text.replace('"', '""') + '"' + blank)
            else:
                fields.append(blank + text + blank)
        out.append(delimiter.join(fields) + end)
        if rng.random() < 0.05:
            out.append(end)
    text = "".join(out)
    return text[:-len(end)] if rng.random() < 0.3 else text


def check_csv_file(check, rng):
    delimiter, word = rng.choice([(",", ""), ("\t", "delimiter=tab"), (";", "delimiter=semicolon"), ("|", "delimiter=|"),
                                  (" ", "delimiter=space")])
    kinds = ["input"] * rng.randrange(1, 6) + ["ignored"] * rng.randrange(3)
    target = rng.choice(["label", "value", "none"])
    kinds += [] if target == "none" else ["value"] * rng.randrange(1, 3) if target == "value" else ["label"]
    rng.shuffle(kinds)
    header, rule = rng.random() < 0.5, rng.choice(["refuse", "mean", "-0.1"])
    labels = rng.choice(LABELS)
    rows = []
    for i in range(rng.choice([1, 2, 7, 60, 400])):
        rows.append([number(rng) if kind in ("input", "value") else rng.choice(NASTY) if kind == "ignored" else rng.choice(labels)
                     for kind in kinds])
        if rule != "refuse" and i > 0:  # of one column, an empty field is an empty line, and no row
            rows[-1] = [rng.choice(MISSING[len(kinds) == 1:]) if kind == "input" and rng.random() < 0.2 else text
                        for kind, text in zip(kinds, rows[-1])]
    names = [[rng.choice(CSV_NAMES) + str(k) for k in range(len(kinds))]] if header else []
    pad = delimiter not in " \t" and rng.random() < 0.4
    text = csv_text(names + rows, rng, delimiter, rng.choice(["\n", "\r\n"]), pad)
    data = (b"\xef\xbb\xbf" if rng.random() < 0.3 else b"") + text.encode()
    path = check.write("a.csv", data, rng.random() < 0.3)
    numbered = {kind: "+".join(str(k + 1) for k, other in enumerate(kinds) if other == kind) for kind in kinds}
    settings = [word] if word else []
    settings += ["header=" + ("yes" if header else "no")] if header or "ignored" in kinds or rng.random() < 0.5 else []
    settings += [f"ignore={numbered['ignored']}"] if "ignored" in kinds else []
    settings += {"label": [f"label={numbered.get('label')}"], "value": [f"target={numbered.get('value')}"],
                 "none": ["label=none"]}[target]
    settings += [] if rule == "refuse" else [f"missing={rule}"]
    kind = "csv"
    if word == "delimiter=tab" and rng.random() < 0.5:
        kind, settings = "tsv", settings[1:]

    stream = io.StringIO(data.decode("utf-8-sig"), newline="")
    table = [row for row in csv.reader(stream, delimiter=delimiter, skipinitialspace=pad, strict=False) if row]
    table = table[1:] if header else table
    column = {k: [row[k].strip() for row in table] for k in range(len(kinds))}

    def numbers(k):
        missing = [text.lower() in [word.lower() for word in MISSING] for text in column[k]]
        known = [None if gone else float32_of(text) for text, gone in zip(column[k], missing)]
        seen = [x for x in known if x is not None]
        total = np.float64(0)
        for x in seen:
            total += np.float64(x)
        fill = np.float32(total / len(seen)) if rule == "mean" and seen else None if rule == "refuse" else float32_of("-0.1")
        return [fill if x is None else x for x in known]

    pick = {role: [k for k, kind in enumerate(kinds) if kind == role] for role in ("input", "value", "label")}
    stack = {role: np.array([numbers(k) for k in pick[role]], "f4").T for role in ("input", "value")}
    classes, class_names = as_classes(column[pick["label"][0]]) if pick["label"] else (None, None)
    check.reads(f"{kind}:{path}" + "".join("," + setting for setting in settings), stack["input"], classes,
                stack["value"] if pick["value"] else None, class_names)


# Fields that are no numbers: to Python neither, or lockstep is stricter.
NO_NUMBERS = ["1e", "e5", ".", "+", "--1", "1 2", "1.2.3", "- 1", "1,5", "0x10", "0x1p3", "1f", "1d5", "1;", "\u0661x",
              "1e5.0", "$1"]
STRICTER = {"inf": "", "-Infinity": "", "1e39": "", "1_000": "Python's own spelling", "\uff11": "digits of other scripts",
            "340282356779733661637539395458142568448": "the first that rounds to infinity"}


def check_csv_refusals(check):
    for text in NO_NUMBERS:
        path = check.write("a.csv", f'x,y\n1,a\n"{text}",a\n'.encode())
        check.refuses(f"csv:{path}", ":3: column 1 'x': found", lambda text=text: float(text))
    for text in STRICTER:
        path = check.write("a.csv", f"x,y\n1,a\n{text},a\n".encode())
        float(text)  # Python takes it
        check.refuses(f"csv:{path}", ":3: column 1 'x': found")
    for data in ['x,y\n1,"a', 'x,y\n1,"a"b\n']:
        path = check.write("a.csv", data.encode())
        check.refuses(f"csv:{path}", ":2: column 2: ",
                      lambda data=data: list(csv.reader(io.StringIO(data, newline=""), strict=True)))
    for data in ['x,y\n1,a"b\n', "x,y\n1,a\n1\n", "x,y\n1,a\n1,2,a\n", "x,y\n1,a\n,a\n"]:  # csv has no rules for these
        check.refuses(f"csv:{check.write('a.csv', data.encode())}", "a.csv\":")


def check_csv(check, rounds):
    for i in range(rounds):
        check_csv_file(check, check.rng(f"csv {i}"))
    check.rng("csv refusals")
    check_csv_refusals(check)
    check.rng("csv numbers")
    rows = [f"{text},0" for text in PLAIN]
    path = check.write("a.csv", "\n".join(rows).encode())
    check.reads(f"csv:{path},header=no", np.array([[float32_of(text)] for text in PLAIN], "f4"), [0] * len(PLAIN))


# ---- LIBSVM ----

def check_libsvm(check, rounds):
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        return print(f"skipped: LIBSVM against scikit-learn: {error}")
    for i in range(rounds):
        rng = check.rng(f"libsvm {i}")
        base, as_value = rng.choice([0, 1, 1]), rng.random() < 0.4
        labels, n = rng.choice([["-1", "+1"], ["0", "1", "2"], ["1.0", "2", "3e0"]]), rng.choice([3, 20, 200])
        last = rng.choice([5, 40, 300])
        lines, cells = [], {}
        for sample in range(n):
            indices = sorted(rng.sample(range(base, last + 1), rng.choice([0, 1, rng.randrange(1, min(30, last)), 1])))
            cells.update({(sample, k - base): number(rng) for k in indices})
            words = [number(rng) if as_value else rng.choice(labels)] + [f"{k}:{cells[sample, k - base]}" for k in indices]
            line = rng.choice([" ", " ", "  ", "\t"]).join(words)
            lines.append(line + rng.choice(["", "", " ", " # a 7:8 comment", "\t#"]))
            lines += [rng.choice(["# 1 1:1", ""])] if rng.random() < 0.1 else []
        width = rng.choice([0, last + 7])
        if not width and not cells:
            continue
        path = check.write("a.svm", (rng.choice(["\n", "\r\n"]).join(lines) + rng.choice(["", "\n"])).encode(), rng.random() < 0.3)
        x, y = load_svmlight_file(str(path), zero_based=base == 0, n_features=width or None)
        x = x.toarray()
        exact = np.zeros(x.shape, "f4")
        for place, text in cells.items():
            exact[place] = float32_of(text)
            if x[place] != float(text):
                check.differ(path, f"scikit-learn has {x[place]} for {text}")
            x[place] = 0
        if x.any():
            check.differ(path, "scikit-learn has other features")
        targets = [line.split()[0] for line in lines if line and line[0] != "#"]
        assert [float(text) for text in targets] == list(y)
        classes, names = (None, None) if as_value else as_classes(targets)
        values = np.array([[float32_of(text)] for text in targets], "f4") if as_value else None
        settings = ",base=0" if base == 0 else ""
        settings += (f",features={width}" if width else "") + (",target=value" if as_value else "")
        check.reads(f"libsvm:{path}{settings}", exact, classes, values, names)
    check.rng("libsvm refusals")
    for line in ["1 2:3 1:4", "1 2:3 2:4", "1 0:1", "1 -1:1", "1 1:x", "1 1:", "1 x:1", "1 1:2:3", "1 1", "a 1:1", "1 1.5:2"]:
        path = check.write("a.svm", f"0 1:1\n{line}\n".encode())
        check.refuses(f"libsvm:{path}", "a.svm\":2: ", lambda: load_svmlight_file(str(path), zero_based=False))
    # scikit-learn takes these: ranking, sets of labels, what is not finite as binary32, a fraction as a class
    for line in ["1 qid:3 1:1", "1,2 1:1", "1 1:inf", "1 1:nan", "1 1:1e39", "1.5 1:1"]:
        check.refuses(f"libsvm:{check.write('a.svm', f'0 1:1{chr(10)}{line}{chr(10)}'.encode())}", "a.svm\":2: ")
    return None


# ---- arrays ----

ORDERS = ["<", ">"]
TYPES = ["|b1", "|u1", "|i1"]
TYPES += [order + kind for kind in ("u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8") for order in ORDERS]


def array_of(rng, descr, shape):
    """Any bits, limits and neighbours of limits; finite as binary32."""
    n = int(np.prod(shape))
    dtype = np.dtype(descr)
    if dtype.kind == "b":
        return np.array([rng.random() < 0.5 for _ in range(n)]).reshape(shape)
    raw = np.frombuffer(rng.randbytes(n * dtype.itemsize), dtype).copy()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        for k in range(0, n, 3):  # those that binary32 must round
            edge = (1 << rng.randrange(24, 64)) + rng.randrange(-3, 4) if dtype.itemsize > 2 else rng.choice([0, 1])
            raw[k] = max(info.min, min(info.max, rng.choice([1, -1]) * edge if info.min else edge))
        return raw.reshape(shape)
    texts = [float32_of(number(rng)) for _ in range(n)]
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = raw.astype("f4")
        raw = np.where(np.isfinite(narrow), raw, np.zeros(1, dtype)).astype(dtype)
        for k in range(0, n, 2):
            x = np.float64(texts[k]) * (1 + rng.choice([0, 2**-24, -2**-24, 2**-25, 2**-53, 2**-52]))
            if np.isfinite(x.astype("f4")) and np.isfinite(x.astype(dtype)):
                raw[k] = x
    return raw.reshape(shape)


def shape_of(rng, n):
    return (n,) + tuple(rng.randrange(1, 6) for _ in range(rng.randrange(4)))


def targets_of(rng, n):
    """Labels or values, and which of the two."""
    way = rng.randrange(4)
    if way == 0:
        return array_of(rng, rng.choice(["<f4", ">f8", "<f2"]), (n, rng.randrange(1, 4))), "values"
    labels = np.array([rng.randrange(7) for _ in range(n)]).astype(rng.choice([t for t in TYPES if t[1] in "iu"]))
    return (labels.astype("<i4") if way == 1 else labels.reshape(n, 1) if way == 2 else labels), "labels"


def as_read(x, y, what):
    x = x.astype("u1") if x.dtype.kind == "b" else x
    return (x if x.dtype == "u1" else x.astype("f4"), y.reshape(-1) if what == "labels" else None,
            y.astype("f4").reshape(len(y), -1) if what == "values" else None)


def divisor_of(x):
    return {"b": 1.0, "u": 255.0 if x.dtype.itemsize == 1 else None}.get(x.dtype.kind)


def check_npy(check, rounds):
    for i in range(rounds):
        rng = check.rng(f"npy {i}")
        n = rng.choice([1, 3, 50])
        x = array_of(rng, TYPES[i % len(TYPES)], shape_of(rng, n))
        y, what = targets_of(rng, n)
        if rng.random() < 0.2:  # of one dimension, Fortran order is C order
            x = np.asfortranarray(x.reshape(-1)[:n].reshape(n, 1))
        paths = [check.folder / "x.npy", check.folder / "y.npy"]
        for path, array in zip(paths, (x, y)):
            with open(path, "wb") as file:
                np.lib.format.write_array(file, array, version=rng.choice([(1, 0), (2, 0), (3, 0)]))
        x, y = (np.load(path) for path in paths)
        check.reads(f"npy:{paths[0]},{paths[1]}", *as_read(x, y, what), divisor=divisor_of(x))
    rng = check.rng("npy refusals")
    y = np.arange(4)
    # NumPy reads these: what is no number, or not finite, or would have to be gathered from all over the file
    for x, words in [(np.asfortranarray(np.ones((4, 3))), "Fortran"), (np.ones(4, complex), "type '<c16'"),
                     (np.array(["a"] * 4), "type '<U1'"), (np.array([1, None, 2, 3], object), "pickled"),
                     (np.ones(4, "M8[s]"), "type '<M8[s]'"), (np.ones(4, [("a", "f4")]), "records"),
                     (np.ones((4, 0)), "dimension 2 is 0"), (np.float32(1), "0 dimensions"),
                     (np.array([1, np.nan, 2, 3]), "is nan"),
                     (np.array([1, 2, 3, -np.inf], "f2"), "is -inf"), (np.full(4, 1e39), "is 1e+39"),
                     (np.ones((4, 1, 1, 1, 1, 1)), "dimensions"), (np.ones(3), "has 3 samples"), (np.ones(4, "g"), "type '<f16'")]:
        np.save(check.folder / "x.npy", x, allow_pickle=True)
        np.save(check.folder / "y.npy", y)
        check.refuses(f"npy:{check.folder / 'x.npy'},{check.folder / 'y.npy'}", words)
    np.save(check.folder / "x.npy", np.ones((4, 2)))
    whole = (check.folder / "x.npy").read_bytes()
    for data in [whole[:-1], whole[:100], b"\x93NUMPY\x04\0" + whole[8:], whole.replace(b"'<f8'", b"'<f9'"),
                 whole.replace(b"descr", b"descs")]:
        path = check.write("x.npy", data)
        check.refuses(f"npy:{path},{check.folder / 'y.npy'}", "", lambda path=path: np.load(path))
    path = check.write("x.npy", whole.replace(b"(4, 2), } ", b"(4, -2), }"))  # which NumPy takes for "whatever there is"
    check.refuses(f"npy:{path},{check.folder / 'y.npy'}", "found '-', expected a dimension")


def check_npz(check, rounds):
    for i in range(rounds):
        rng = check.rng(f"npz {i}")
        shape = shape_of(rng, 1)[1:]
        descr = rng.choice(TYPES)
        parts = {part: (array_of(rng, descr, (n,) + shape),
                        np.array([rng.randrange(5) for _ in range(n)], rng.choice(["u1", "<i8", ">i2"])))
                 for part, n in (("train", rng.choice([1, 30])), ("test", rng.choice([1, 9])))}
        names, with_test = rng.choice([(("x", "y"), False), (("arr_0", "arr_1"), False),
                                       (("x_train", "y_train", "x_test", "y_test"), True)])
        arrays = [array for part in ("train", "test")[:1 + with_test] for array in parts[part]]
        path = check.folder / "a.npz"
        (np.savez_compressed if rng.random() < 0.6 else np.savez)(path, **dict(zip(names, arrays)))
        with np.load(path) as archive:
            arrays = [archive[name] for name in names]
        test = as_read(*arrays[2:], "labels") if with_test else None
        check.reads(f"npz:{path}", *as_read(*arrays[:2], "labels"), test=test, divisor=divisor_of(arrays[0]))
    check.rng("npz refusals")
    np.savez_compressed(check.folder / "a.npz", x=np.arange(3000.0).reshape(1000, 3), y=np.zeros(1000, int))
    whole = bytearray((check.folder / "a.npz").read_bytes())

    def load(path):
        try:
            with np.load(path) as archive:
                return archive["x"], archive["y"]
        except Exception as error:  # zipfile and zlib have errors of their own
            raise ValueError(error) from None
    for at in (60, 1500, len(whole) - 10):
        bad = bytearray(whole)
        bad[at] ^= 0x55
        path = check.write("b.npz", bytes(bad))
        check.refuses(f"npz:{path}", "", lambda path=path: load(path))
    path = check.write("b.npz", bytes(whole[:-30]))
    check.refuses(f"npz:{path}", "", lambda: load(path))


def check_hdf5(check, rounds):
    try:
        import h5py
    except ImportError as error:
        return print(f"skipped: HDF5 against h5py: {error}")
    path = check.folder / "a.h5"
    if check.convert(f"hdf5:{path}")[1].find("without HDF5") >= 0:
        return print("skipped: HDF5 against h5py: this lockstep is built without it")
    for i in range(rounds):
        rng = check.rng(f"hdf5 {i}")
        n = rng.choice([1, 3, 70])
        x = array_of(rng, TYPES[i % len(TYPES)], shape_of(rng, n))
        y, what = targets_of(rng, n)
        names = rng.choice([("x", "y"), ("images", "labels"), ("deep/er/x", "deep/er/y")])
        version = rng.choice(["earliest", "latest", ("v108", "v110")])
        with h5py.File(path, "w", libver=version, userblock_size=rng.choice([0, 0, 512])) as file:
            for name, array in zip(names, (x, y)):
                how = {}
                if rng.random() < 0.7:
                    how["chunks"] = tuple(rng.randrange(1, size + 1) for size in array.shape)
                    how.update(rng.choice([{}, {"compression": "gzip", "compression_opts": rng.randrange(10)}]))
                    how["shuffle"], how["fletcher32"] = rng.random() < 0.5, rng.random() < 0.3
                    how["maxshape"] = (None,) + array.shape[1:]
                how["track_times"] = rng.random() < 0.5
                file.create_dataset(name, data=array, **how).attrs["note"] = "x" * rng.choice([1, 3000])
        with h5py.File(path) as file:
            x, y = (file[name][()] for name in names)
        settings = f",x=/{names[0]},y=/{names[1]}" if "/" in names[0] else ""
        check.reads(f"hdf5:{path}{settings}", *as_read(x, y, what), divisor=divisor_of(x))
    check.rng("hdf5 refusals")
    y = np.zeros(4, int)
    for x, words in [(np.array(["a"] * 4, "S3"), "x"), (np.ones(4, complex), "x"), (np.float32(1), "x"), (np.ones((4, 0)), "x"),
                     (np.full(4, np.inf), "inf"), (np.ones(4, [("a", "f4")]), "x"), (np.ones(3), "3")]:
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = x, y
        check.refuses(f"hdf5:{path}", words)
    with h5py.File(path, "w") as file:  # a filter that is h5py's own
        file.create_dataset("x", data=np.ones((4, 2)), chunks=(2, 2), compression="lzf")
        file["y"] = y
    check.refuses(f"hdf5:{path}", "lzf")
    with h5py.File(path, "w") as file:  # h5py reads zeros where nothing was written: to lockstep the writer was interrupted
        file.create_dataset("x", (4, 2), chunks=(2, 2))[:2] = 1
        file["y"] = y
    check.refuses(f"hdf5:{path}", "never written in full")
    data = path.read_bytes()

    def load(path):
        with h5py.File(path) as file:
            return file["x"][()], file["y"][()]
    for cut in (4, 100, len(data) // 2):
        path = check.write("b.h5", data[:cut])
        check.refuses(f"hdf5:{path}", "", lambda path=path: load(path))
    return None


# ---- formats that are a few lines of documentation ----

def check_cifar(check, rounds):
    """https://www.cs.toronto.edu/~kriz/cifar.html: <label> or <coarse><fine>, then 1024 red, green, blue bytes."""
    for i in range(rounds):
        rng = check.rng(f"cifar {i}")
        folder = check.folder / f"cifar{i}"
        folder.mkdir()
        many, coarse = rng.random() < 0.5, rng.random() < 0.5
        names = [f"{'c' if coarse else 'f'}{k}" for k in range((20 if coarse else 100) if many else 10)]
        files = (["train.bin"], ["test.bin"]) if many else ([f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"])
        said = rng.random() < 0.7
        parts = []
        for group in files:
            images, labels = [], []
            for name in group:
                n = rng.randrange(1, 70)
                pixels = np.frombuffer(rng.randbytes(n * 3072), "u1").reshape(n, 3, 32, 32)  # as PyTorch has it: channels first
                own = np.array([[rng.randrange(20), rng.randrange(100)] if many else [rng.randrange(10)] for _ in range(n)], "u1")
                (folder / name).write_bytes(b"".join(bytes(label) + image.tobytes() for label, image in zip(own, pixels)))
                images.append(pixels)
                labels.append(own[:, 1 if many and not coarse else 0])
            parts.append((np.concatenate(images), np.concatenate(labels), None))
        if said:
            name = "batches.meta.txt" if not many else "coarse_label_names.txt" if coarse else "fine_label_names.txt"
            (folder / name).write_text("\n".join(names) + rng.choice(["", "\n", "\n\n"]))
        check.reads(f"cifar{'100' if many else '10'}:{folder}" + (",label=coarse" if many and coarse else ""), *parts[0],
                    names=names if said else [], test=parts[1], divisor=255.0)
    check.rng("cifar refusals")
    for data in [b"", bytes(3072), bytes(3073) + b"\x0a" + bytes(3072), bytes(3074)]:
        check.refuses(f"cifar10:{check.write('a.bin', data)}", "")


def check_idx(check, rounds):
    """http://yann.lecun.com/exdb/mnist: 0 0 type rank, big-endian sizes, elements."""
    codes = {"|u1": 8, "|i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
    for i in range(rounds):
        rng = check.rng(f"idx {i}")
        n = rng.choice([1, 40])
        x = array_of(rng, list(codes)[i % 6], shape_of(rng, n))
        y, what = targets_of(rng, n)
        y = y.astype(">f4") if what == "values" else y.reshape(-1).astype(rng.choice(["|u1", "|i1", ">i2", ">i4"]))
        paths = []
        for name, array in (("x.idx", x), ("y.idx", y)):
            head = bytes([0, 0, codes[array.dtype.str], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            paths.append(check.write(name, head + array.tobytes(), rng.random() < 0.4))
        check.reads(f"idx:{paths[0]},{paths[1]}", *as_read(x, y, what), divisor=divisor_of(x))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lockstep")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="times the usual number of files")
    parser.add_argument("--keep", help="an existing folder for the files, instead of a temporary one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        check = Check(pathlib.Path(args.lockstep).resolve(), args.keep or temporary, args.seed)
        for part, rounds in ((check_csv, 60), (check_libsvm, 40), (check_npy, 63), (check_npz, 20), (check_hdf5, 63),
                             (check_cifar, 8), (check_idx, 24)):
            part(check, rounds * args.rounds)
    for text in check.wrong[:40]:
        print(text, file=sys.stderr)
    print(f"{check.read} files read, {check.refused} refused; {len(check.wrong)} differences")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
