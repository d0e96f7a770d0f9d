#!/usr/bin/python3
"""Times lockstep beside PyTorch, kann and scikit-learn on this machine, and writes one table of every ratio and what was asked.

  dense-2048, dense-1024, dense-128, softmax   training steps of dense nets (scripts/peers/workloads.py has nets and asks)
  conv, lenet5, resnet20                       training steps of `--net cnn`, `--net lenet5` and `--net resnet20`
  fashion-mnist                                ten epochs of it, from the gzip files to the tenth test accuracy

How it is kept fair:
- Contestants alternate within a round, each in processes of its own that sleep while others are measured, so a neighbour on the
  machine slows all of them.  A ratio is taken within a round, of each one's best setting in it; the table has the median of the
  rounds' ratios, and the least and largest.
- Settings: lockstep with one rank and all threads, one thread, two threads, and, compared with these, 2 ranks x 1 thread.
  PyTorch eager and with torch.compile, one thread and all, convolutions in both memory layouts; with DistributedDataParallel and
  gloo, 2 processes x 1 thread.  kann with OpenBLAS, forced to its AVX-512 kernels where there is AVX-512, and with threads in the
  BLAS or of its own.  A thread a core: hardware threads of a core count once.
- PyTorch is written as a careful user would for speed (scripts/peers/pytorch_worker.py), and is the newest of PyPI.
- All do softmax cross-entropy and SGD with momentum 0.9 on random data in memory: lockstep from samples of one byte a number, which
  it makes binary32 of in each step; the others from binary32, as one who wants speed would convert them once, before the clock
  starts.  A step's figure is samples/s, the median over
  blocks of about 50 ms after a warm-up.  Compiling is not timed.
- Of fashion-mnist the Python contestants' clock starts after their imports and compiling; lockstep's is the whole process.
- A contestant that is not ready within 1500 s, or gives no answer within 600, is ended and named (status 1).
- Verified, then timed: lockstep's bits against the oracle; that the loss of one batch falls; 80 % test accuracy.

Measurements go to --csv, where runs add up; --report makes the table of such a file again.  kann is not part of this: give --kann
DIR or KANN=DIR, its sources as in github.com/attractivechaos/kann (PyPI's source package `cynn` has a copy in thirdparty/kann).
Exit status: 0 measured, 1 a run failed or --require and an ask was missed, 2 usage, or something to install or build.
"""
import argparse
import csv
import os
import pathlib
import platform
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "peers"))
import contestants  # noqa: E402
import report  # noqa: E402
from fashion_mnist import DATA  # noqa: E402
from workloads import LEAST_ACCURACY, WORKLOADS  # noqa: E402

VENV = ROOT / "build" / "peers-venv" / "bin" / "python3"
COLUMNS = ("run", "workload", "round", "contestant", "setting", "ranks", "threads", "blas_threads", "samples_per_s",
           "best_samples_per_s", "seconds", "accuracy", "gflops", "peak_gflops", "peak_share", "data_bytes", "data_gbytes_per_s",
           "read_gbytes_per_s", "read_share", "version", "machine", "lockstep")


def machine_line():
    model, flags = platform.machine(), ""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            if key.strip() == "flags":
                flags = value.split()
    isa = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("FMA", "fma")) if flag in flags]
    return f"{model}, {contestants.CORES} cores, {' '.join(isa)}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"


def complain(text, status=2):
    print(f"bench_peers: {text}", file=sys.stderr)
    sys.exit(status)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:100.100}\r", end="", file=sys.stderr, flush=True)


def can_import(python, modules):
    return subprocess.run([python, "-c", f"import {modules}"], capture_output=True, timeout=120).returncode == 0


def find_contestants(options):
    """Who is there; says what is left out and why, and leaves where a comparison would be impossible."""
    there = [name for name in contestants.NAMES if name not in options.without]
    if "lockstep" in there and not os.access(options.lockstep, os.X_OK):
        complain(f"'{options.lockstep}' is not there; run make, or give --lockstep FILE or --without lockstep")
    if "fashion-mnist" in options.workloads and not (DATA / "train-images-idx3-ubyte.gz").exists():
        complain(f"no Fashion-MNIST in '{DATA}'; as root: apt-get install dataset-fashion-mnist")
    if "pytorch" in there or "pytorch-ddp" in there:
        if not can_import(options.python, "torch"):
            complain(f"no PyTorch for '{options.python}'; run scripts/peers/venv.sh, or give --python FILE, or "
                     "--without pytorch --without pytorch-ddp; Debian's python3-torch with /usr/bin/python3 does too, but is old")
        if options.python != str(VENV):
            print(f"pytorch  of {options.python}: scripts/peers/venv.sh brings the newest")
    if "kann" in there:
        if not options.kann:
            print("kann     left out: give --kann DIR, its sources (github.com/attractivechaos/kann)")
            there.remove("kann")
        else:
            options.kann_program = contestants.build_kann(options.kann)
    if "sklearn" in there and "fashion-mnist" in options.workloads and not can_import("/usr/bin/python3", "sklearn"):
        print("sklearn  left out: as root, apt-get install python3-sklearn")
        there.remove("sklearn")
    return there


def lockstep_line(options):
    done = subprocess.run([options.lockstep, "--version"], capture_output=True, text=True, timeout=60)
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return (done.stdout.strip() or "lockstep") + (f" at {commit.stdout.strip()}" if commit.returncode == 0 else "")


def contest(name, there, options, common):
    """Rounds of everyone in every setting, alternating; yields measurements, a round at a time."""
    workload, started = WORKLOADS[name], []
    best = report.best_settings(read_csv(options.best_of), name) if options.best_of else {}
    try:
        for contestant in there:
            for setting in contestants.settings_of(contestant, workload):
                if contestant != "lockstep" and best.get(contestant, setting["setting"]) != setting["setting"]:
                    continue
                progress(f"{name}: {contestant}, {setting['setting']}, gets ready")
                its, version = contestants.start(contestant, options, workload, setting)
                started.append((contestant, setting, version or common["lockstep"].split(" at ")[0], its))
        for number in range(1, options.rounds + 1):
            if options.wait:
                print(f"ready    {name}, round {number}", flush=True)
                sys.stdin.readline()
            rows = []
            for contestant, setting, version, its in started:
                progress(f"{name}: round {number} of {options.rounds}, {contestant}, {setting['setting']}")
                answer = its.measure(options.seconds)
                if answer.get("accuracy") is not None and not answer["accuracy"] >= LEAST_ACCURACY:
                    raise contestants.Failed(f"{contestant}: test accuracy {answer['accuracy']}, less than {LEAST_ACCURACY}")
                rows.append({**common, "workload": name, "round": number, "contestant": contestant, "version": version,
                             **setting, **answer})
            if options.wait:
                print(f"done     {name}, round {number}", flush=True)
            yield [{column: str(row.get(column, "")) for column in COLUMNS} for row in rows]
    finally:
        progress("")
        for *_, its in started:
            its.stop()


def append_csv(path, rows):
    new = not os.path.exists(path) or os.path.getsize(path) == 0
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(column not in rows[0] for column in COLUMNS):
        complain(f"'{path}' holds no measurements that --csv wrote")
    return rows


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--lockstep", default=str(ROOT / "build" / "lockstep"), metavar="FILE", help="binary to time (default: %(default)s)")
    parser.add_argument("--python", default=str(VENV) if VENV.exists() else "/usr/bin/python3", metavar="FILE",
                        help="the Python that has PyTorch (default: %(default)s)")
    parser.add_argument("--kann", default=os.environ.get("KANN"), metavar="DIR", help="kann's sources (default: $KANN)")
    parser.add_argument("--without", action="append", default=[], choices=contestants.NAMES, help="leave one out")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S", help="a step measurement (default: %(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="add every measurement to FILE; the table is of all in it")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    parser.add_argument("--report", metavar="FILE", help="measure nothing: the table of what --csv wrote to FILE")
    parser.add_argument("--best-of", metavar="FILE", help="peers are tried only with the setting that is best in FILE, of --csv")
    parser.add_argument("--wait", action="store_true", help="before each round, say `ready` and wait for a line on standard input")
    parser.add_argument("--require", action="store_true", help="exit with 1 when an ask is missed")
    options = parser.parse_args()
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"unknown workload '{name}'; known are {', '.join(WORKLOADS)}")
    options.workloads = options.workloads or list(WORKLOADS)
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    if "/" not in options.lockstep:
        options.lockstep = os.path.join(".", options.lockstep)
    return options


def measure(options):
    there = find_contestants(options)
    common = {"run": time.strftime("%Y%m%d-%H%M%S"), "machine": machine_line(),
              "lockstep": lockstep_line(options) if "lockstep" in there else "none"}
    print(f"machine  {common['machine']}, load {os.getloadavg()[0]:.2f} at the start\nlockstep {common['lockstep']}", flush=True)
    everything = []
    for name in options.workloads:
        for rows in contest(name, there, options, common):
            everything += rows
            if options.csv:
                append_csv(options.csv, rows)
    print(f"load     {os.getloadavg()[0]:.2f} at the end; well above {contestants.CORES} means that others were computing here\n")
    return read_csv(options.csv) if options.csv else everything


def main():
    options = parse_options()
    try:
        rows = read_csv(options.report) if options.report else measure(options)
    except contestants.Failed as failure:
        complain(failure, 1)
    text = report.markdown(rows)
    print(text, end="")
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(text)
    return 1 if options.require and any(line[-1] == "no" for line in report.table(rows)) else 0


if __name__ == "__main__":
    sys.exit(main())
