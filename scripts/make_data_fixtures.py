#!/usr/bin/python3
"""Makes tests/fixtures/data: files as NumPy and h5py really write them, and what NumPy says their numbers are.

  x_TYPE.npy      6 samples of 2x3 numbers, one file a type and byte order, with the type's awkward ones
  expected.f4     the same numbers as NumPy's astype('<f4') gives them, file after file in the order of TYPES, raw
  y_*.npy         targets of 6 samples: labels, labels as a column, whole and broken float values, two values a sample
  v2.npy, v3.npy  x_u1 with other versions of the header
  fortran.npy, objects.npy, records.npy, complex.npy, text.npy, scalar.npy, empty.npy    what is refused
  *.npz, *.h5     PIXELS and their labels under names that people use, stored and packed; and what is refused
  pixels.idx, labels.idx    the same as IDX files: what is trained on any of them must give the same hash

Needs Debian's python3-numpy and python3-h5py, only here: tests read the committed files.

  scripts/make_data_fixtures.py            write them
  scripts/make_data_fixtures.py --check    exit 1 unless the committed ones are byte for byte what it makes (with other versions
                                           of h5py, .h5 files may differ and hold the same)
"""
import pathlib
import struct
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as error:
    sys.exit(f"make_data_fixtures: {error}; as root: apt-get install python3-h5py (and run /usr/bin/python3)")

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "data"
# tests/unit/test_npy.c and test_hdf5.c have the same list.
TYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4", "<i4", ">i4", "<u8", ">u8", "<i8", ">i8",
         "<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
SHAPE = (6, 2, 3)
RNG = np.random.RandomState(20)
PIXELS = RNG.randint(0, 256, (90, 4, 5)).astype("u1")
LABELS = (PIXELS.reshape(90, 20).astype(int).sum(axis=1) % 7).astype("u1")


def numbers(descr):
    """36 numbers of a type: its limits, and those whose binary32 must be rounded, in both directions and to even."""
    kind = np.dtype(descr).kind
    if kind == "b":
        values = [i % 3 == 0 for i in range(36)]
    elif kind in "ui":
        info = np.iinfo(descr)
        values = [info.min, info.max, info.max - 1, info.min + 1, 0, 1, info.max // 2, info.max // 3, info.max // 2 + 1]
        values += [v for v in (2**24 + 1, 2**24 + 3, 2**24 - 1, 2**53 + 1, 2**40 + 2**16, 2**40 + 2**16 + 1, 3 * 2**38 + 2**15)
                   if v <= info.max]
        values += [info.max // 7 * i // 36 for i in range(36 - len(values))]
    else:
        info = np.finfo(descr)
        tiny = 2.0**-24 if info.bits == 16 else 2.0**-149
        values = [0.0, -0.0, 1 / 3, -2 / 3, 0.1, tiny, 3 * tiny, float(info.tiny), 1 + 2.0**-24, 1 + 3 * 2.0**-24,
                  65504.0, -65504.0, 2.0**-14, 2.0**-14 - 2.0**-24, 1 + 2.0**-24 + 2.0**-50]
        if info.bits > 16:
            values += [3.4028234663852886e38, 1.1754943508222875e-38, 2.0**-150 * 1.5, 2.0**-127]
        values += [(i - 8) / 7 for i in range(36 - len(values))]
    return np.array(values, dtype=np.dtype(descr)).reshape(SHAPE)


def file_name(descr):
    return "x_" + descr[1:] + ("_be" if descr[0] == ">" else "") + ".npy"


def write_npy(folder):
    for descr in TYPES:
        np.save(folder / file_name(descr), numbers(descr))
    (folder / "expected.f4").write_bytes(b"".join(numbers(descr).astype("<f4").tobytes() for descr in TYPES))
    labels = np.array([3, 0, 2, 1, 2, 0])
    np.save(folder / "y_u1.npy", labels.astype("u1"))
    np.save(folder / "y_i8_column.npy", labels.astype("<i8").reshape(6, 1))
    np.save(folder / "y_i2_be.npy", labels.astype(">i2"))
    np.save(folder / "y_f8_whole.npy", labels.astype("<f8"))
    np.save(folder / "y_f4.npy", (labels + 0.25).astype("<f4"))
    np.save(folder / "y_f4_two.npy", np.stack([labels, -labels / 4], axis=1).astype("<f4"))
    np.save(folder / "y_negative.npy", labels - 1)
    np.save(folder / "y_large.npy", labels * 32768)
    nan = numbers("<f4").copy()
    nan[4, 1, 0] = np.nan
    np.save(folder / "nan.npy", nan)
    np.save(folder / "beyond.npy", np.full(SHAPE, 1e39))
    for version in (2, 3):
        with open(folder / f"v{version}.npy", "wb") as file:
            np.lib.format.write_array(file, numbers("|u1"), version=(version, 0))
    np.save(folder / "fortran.npy", np.asfortranarray(numbers("<f4")))
    np.save(folder / "objects.npy", np.array([None] * 6, dtype=object), allow_pickle=True)
    np.save(folder / "records.npy", np.zeros(6, dtype=[("a", "<f4"), ("b", "<i4")]))
    np.save(folder / "complex.npy", numbers("<f4").astype("<c8"))
    np.save(folder / "text.npy", np.array(["a", "bc"] * 3))
    np.save(folder / "scalar.npy", np.float32(3))
    np.save(folder / "empty.npy", np.zeros((0, 4), "<f4"))


def keras():
    return {"x_train": PIXELS[:60], "y_train": LABELS[:60], "x_test": PIXELS[60:], "y_test": LABELS[60:]}


def write_npz(folder):
    np.savez(folder / "pair.npz", x=PIXELS, y=LABELS)
    np.savez_compressed(folder / "packed.npz", x=PIXELS, y=LABELS)
    np.savez(folder / "unnamed.npz", PIXELS, LABELS)
    np.savez_compressed(folder / "keras.npz", **keras())
    np.savez_compressed(folder / "odd.npz", foo=PIXELS, bar=LABELS.astype("<i8"))
    np.savez_compressed(folder / "numbers.npz", x=(PIXELS.astype("<f4") / np.float32(255)).astype(">f8"), y=LABELS.astype(">i4"))


def write_h5(folder):
    with h5py.File(folder / "types.h5", "w") as file:
        for descr in TYPES:
            file[file_name(descr)[:-4]] = numbers(descr)
        file["y"] = np.array([3, 0, 2, 1, 2, 0], "<i8")
    with h5py.File(folder / "pair.h5", "w") as file:
        file["x"], file["y"] = PIXELS, LABELS
    with h5py.File(folder / "latest.h5", "w", libver="latest") as file:
        file["images"], file["labels"] = PIXELS, LABELS.astype("<i8")
    with h5py.File(folder / "keras.h5", "w") as file:
        for name, data in keras().items():
            file.create_dataset(name, data=data, chunks=True, compression="gzip", shuffle=True)
    with h5py.File(folder / "grouped.h5", "w") as file:
        file.create_dataset("a/b/in", data=(PIXELS.astype("<f4") / np.float32(255)).astype(">f8"), chunks=(7, 3, 4),
                            compression="gzip", fletcher32=True)
        file.create_dataset("a/out", data=LABELS.astype(">i4"), chunks=(64,), maxshape=(None,))
        file["in"] = h5py.SoftLink("/a/b/in")
    with h5py.File(folder / "refused.h5", "w") as file:
        file["y"] = LABELS
        file["elsewhere"] = h5py.ExternalLink("pair.h5", "/x")
        file["soft"] = h5py.SoftLink("/elsewhere")
        file["loop"] = h5py.SoftLink("/loop")
        layout = h5py.VirtualLayout(PIXELS.shape, "u1")
        layout[:] = h5py.VirtualSource("pair.h5", "x", PIXELS.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", shape=PIXELS.shape, dtype="u1", external=[("pair.h5", 0, PIXELS.size)])
        file.create_dataset("lzf", data=PIXELS, compression="lzf")
        file.create_dataset("hole", shape=(2**40, 4), chunks=(2**20, 4), dtype="u1", compression="gzip")
        file.create_dataset("unwritten", shape=(90, 4), dtype="<f4")
        half = file.create_dataset("half", shape=(90, 4), dtype="<f4", chunks=(10, 4))
        half[:50] = 1
        file["text"] = [b"abc"] * 90
        file["records"] = np.zeros(90, dtype=[("a", "<f4"), ("b", "<i4")])
        file["complex"] = np.zeros(90, "<c8")
        file["scalar"] = 3.0
        file["null"] = h5py.Empty("f4")
        file["six"] = np.zeros((90, 1, 1, 1, 1, 1), "u1")
        file.create_group("folder")


def write_idx(folder):
    (folder / "pixels.idx").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *PIXELS.shape) + PIXELS.tobytes())
    (folder / "labels.idx").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, len(LABELS)) + LABELS.tobytes())


def write_all(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for write in (write_npy, write_npz, write_h5, write_idx):
        write(folder)


def check():
    with tempfile.TemporaryDirectory() as name:
        made = pathlib.Path(name)
        write_all(made)
        names = sorted({path.name for folder in (made, FIXTURES) for path in folder.iterdir()})
        bad = [n for n in names if not (made / n).exists() or not (FIXTURES / n).exists()
               or (made / n).read_bytes() != (FIXTURES / n).read_bytes()]
    print(f"{len(names) - len(bad)} of {len(names)} files are what this script makes", *bad)
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    write_all(FIXTURES)
