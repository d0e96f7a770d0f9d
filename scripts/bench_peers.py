#!/usr/bin/python3
"""Times lockstep beside PyTorch and scikit-learn on this machine, and compares with what was asked of it.

  small   training steps of 784-128-10, batch 64                   ask: 3 times PyTorch
  large   training steps of 784-1024-1024-10, batch 256            ask: 2 times PyTorch and 75 % of the FMA peak
  conv64, conv256   training steps of `lockstep info --net cnn` (two convolutions 3x3, two dense layers, 28x28), batch 64
          and 256                                                  ask: 2 times PyTorch
  train   ten epochs of Fashion-MNIST on 784-128-10, batch 64,     ask: less than 1.5 s
          lr 0.05, momentum 0.9, from the gzip files to the tenth test accuracy

How it is kept fair:
- Contestants alternate within a round, each in a process of its own, so a neighbour on the machine slows all of them.  A ratio
  is taken within a round; the table shows the median of the rounds' ratios and all of them.
- Every contestant runs with one thread and with all; its best of the round counts.  PyTorch also runs with one thread of its
  own and all in the BLAS, and always with OMP_WAIT_POLICY=PASSIVE: its OpenMP threads and those of OpenBLAS otherwise spin
  against each other.  Both help it.
- PyTorch is written as a careful user would for speed: no DataLoader, tensors in memory, batches by index from a permutation,
  gradients dropped instead of zeroed.  All contestants do softmax cross-entropy and SGD with momentum 0.9.
- A step's figure is samples/s, the median over blocks of about 50 ms after a warm-up; lockstep's own `bench step` reports its,
  and peak_share, a fraction of the FMA peak of the threads it used.
- For `train` the Python contestants' clock starts after their imports; lockstep's is the whole process, from the outside.
- Verified, then timed: in `train` everyone must reach 80 % test accuracy, lockstep in a run of its own before the first round.

It needs Debian's python3-torch, libopenblas0-pthread (with the reference BLAS PyTorch would be no opponent) and
dataset-fashion-mnist; python3-sklearn is optional.  Exit status: 0 measured, 1 a run failed or --require and an ask was missed,
2 something to install or build.
"""
import argparse
import csv
import gzip
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

CORES = len(os.sched_getaffinity(0))
DATA = pathlib.Path(os.environ.get("LOCKSTEP_DATA", "/usr/share/datasets/fashion-mnist"))
LEAST_ACCURACY = 0.80  # tells a run that trains from one that does not; the proof of accuracy is elsewhere
EPOCHS, LEARNING_RATE, MOMENTUM = 10, 0.05, 0.9

WORKLOADS = {
    "small": {"widths": (784, 128, 10), "batch": 64, "ask_ratio": 3.0},
    "large": {"widths": (784, 1024, 1024, 10), "batch": 256, "ask_ratio": 2.0, "ask_peak_share": 0.75},
    "conv64": {"net": "cnn", "widths": (784, 10), "batch": 64, "ask_ratio": 2.0},
    "conv256": {"net": "cnn", "widths": (784, 10), "batch": 256, "ask_ratio": 2.0},
    "train": {"widths": (784, 128, 10), "batch": 64, "ask_seconds": 1.5},
}
MANY = [1] if CORES == 1 else [1, CORES]
THREADS = {  # contestant: its settings, as (own threads, BLAS threads)
    "lockstep": [(t, 0) for t in MANY],
    "pytorch": sorted({(1, 1), (1, CORES), (CORES, CORES)}),
    "sklearn": [(t, t) for t in MANY],
}


# --- the Python contestants: `bench_peers.py --worker CONTESTANT JOB` in a process of their own, answering in JSON ------

def blas_in_use():
    """The BLAS that this process really mapped, the processor OpenBLAS takes this one for, and whether it is a slow one."""
    with open("/proc/self/maps") as maps:
        paths = {pathlib.Path(os.path.realpath(line.split()[-1])) for line in maps if "blas" in line.rsplit("/", 1)[-1]}
    name = ", ".join(sorted(f"{path.parent.name}/{path.name}" for path in paths)) or "a BLAS built into the library"
    reference = any(path.name.startswith("libblas.so") and path.parent.name in ("blas", "lib", "lib64") for path in paths)
    try:
        from threadpoolctl import threadpool_info
        kernels = {pool["architecture"] for pool in threadpool_info() if "architecture" in pool}
        name += f" ({', '.join(sorted(kernels))} kernels)" if kernels else ""
    except ImportError:
        pass
    return {"blas": name, "reference_blas": reference}


def read_idx(name):
    import numpy as np
    with gzip.open(DATA / name) as file:
        raw = file.read()
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", dimensions, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def fashion_mnist():
    import numpy as np
    for part in ("train", "t10k"):
        pixels = read_idx(f"{part}-images-idx3-ubyte.gz")
        yield pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
        yield read_idx(f"{part}-labels-idx1-ubyte.gz").astype(np.int64)


class Pytorch:
    """A net, its optimiser, and one epoch over tensors in memory."""

    def __init__(self, widths, batch, net=None, channels_last=False):
        import torch
        from torch import nn
        self.torch, self.batch = torch, batch
        torch.manual_seed(1)
        if net == "cnn":
            layers = [nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                      nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 128),
                      nn.ReLU(), nn.Linear(128, 10)]
            self.model = nn.Sequential(*layers)
            if channels_last:
                self.model = self.model.to(memory_format=torch.channels_last)
        else:
            layers = []
            for inputs, outputs in zip(widths, widths[1:]):
                layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            self.model = nn.Sequential(*layers[:-1])
        self.loss = nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def steps(self, x, labels):
        """One epoch in a new order; yields the samples of each step when it is done."""
        order = self.torch.randperm(len(x))
        for start in range(0, len(x), self.batch):
            index = order[start:start + self.batch]
            self.optimiser.zero_grad(set_to_none=True)
            self.loss(self.model(x[index]), labels[index]).backward()
            self.optimiser.step()
            yield len(index)

    def accuracy(self, x, labels):
        with self.torch.no_grad():
            return (self.model(x).argmax(1) == labels).float().mean().item()


def pytorch_steps(job):
    import torch
    contestant = Pytorch(job["widths"], job["batch"], job.get("net"), job.get("channels_last", False))
    x = torch.rand(8192, job["widths"][0])
    labels = torch.randint(0, job["widths"][-1], (len(x),))
    rates, samples = [], 0
    warm = time.perf_counter() + 0.3
    block = None
    while block is None or time.perf_counter() < end:
        for n in contestant.steps(x, labels):
            now = time.perf_counter()
            if block is None:
                if now >= warm:
                    block, end = now, now + job["seconds"]
                continue
            samples += n
            if now - block >= 0.05:
                rates.append(samples / (now - block))
                samples, block = 0, now
    return {"samples_per_s": statistics.median(rates), "best_samples_per_s": max(rates)}


def pytorch_train(job):
    import torch
    begin = time.perf_counter()
    x, labels, test_x, test_labels = (torch.from_numpy(array) for array in fashion_mnist())
    contestant = Pytorch(job["widths"], job["batch"])
    for _ in range(EPOCHS):
        for _ in contestant.steps(x, labels):
            pass
        accuracy = contestant.accuracy(test_x, test_labels)
    return {"seconds": time.perf_counter() - begin, "accuracy": accuracy}


def sklearn_train(job):
    from sklearn.neural_network import MLPClassifier
    begin = time.perf_counter()
    x, labels, test_x, test_labels = fashion_mnist()
    model = MLPClassifier(job["widths"][1:-1], solver="sgd", alpha=0.0, batch_size=job["batch"], momentum=MOMENTUM,
                          nesterovs_momentum=False, learning_rate_init=LEARNING_RATE, random_state=1)
    for _ in range(EPOCHS):
        model.partial_fit(x, labels, classes=range(10))
        accuracy = model.score(test_x, test_labels)
    return {"seconds": time.perf_counter() - begin, "accuracy": float(accuracy)}


def work(contestant, job):
    if contestant == "pytorch":
        import torch as library
        library.set_num_threads(job["threads"])
    else:
        import sklearn as library
    measure = {("pytorch", True): pytorch_train, ("pytorch", False): pytorch_steps, ("sklearn", True): sklearn_train}
    answer = {} if job.get("probe") else measure[contestant, "seconds" not in job](job)
    print(json.dumps({**answer, "version": library.__version__, **blas_in_use()}))


# --- running one contestant ----------------------------------------------------------------------------------------------

def run(command, environment=None, seconds=600):
    """Standard output of a command that must succeed."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        sys.exit(f"bench_peers: no end after {seconds} s: {' '.join(map(str, command))}")
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        sys.exit(f"bench_peers: exit status {done.returncode}: {' '.join(map(str, command))}\n{tail}")
    return done.stdout


def run_worker(contestant, job, threads=1, blas_threads=1):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(blas_threads),
                       OMP_WAIT_POLICY="PASSIVE")
    job = {**job, "threads": threads}
    output = run([sys.executable, __file__, "--worker", contestant, json.dumps(job)], environment)
    return json.loads(output.splitlines()[-1])


def lockstep_net(widths):
    return ", relu, ".join(f"dense {width}" for width in widths[1:])


def lockstep_train_command(binary, workload, threads):
    return [binary, "train", "--data", "fashion-mnist", "--net", lockstep_net(workload["widths"]), "--batch",
            str(workload["batch"]), "--lr", str(LEARNING_RATE), "--momentum", str(MOMENTUM), "--epochs", str(EPOCHS),
            "--threads", str(threads), "--quiet"]


def run_lockstep(binary, workload, threads, seconds):
    if "ask_seconds" in workload:
        begin = time.perf_counter()
        run(lockstep_train_command(binary, workload, threads))
        return {"seconds": time.perf_counter() - begin}
    net = ["--net", workload["net"]] if "net" in workload else ["--net", lockstep_net(workload["widths"]), "--input",
                                                                str(workload["widths"][0])]
    output = run([binary, "bench", "step", *net, "--batch", str(workload["batch"]), "--threads", str(threads), "--seconds", str(seconds), "--json"])
    return json.loads(output)


def lockstep_accuracy(binary, workload):
    """Of the last epoch, from the run log; not timed."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "run.jsonl")
        run(lockstep_train_command(binary, workload, CORES) + ["--log", log])
        with open(log) as lines:
            records = [json.loads(line) for line in lines]
    found = [record[key] for record in records for key in record if "accuracy" in key and record[key] is not None]
    if not found:
        sys.exit("bench_peers: lockstep's --log has no accuracy, so its training cannot be verified")
    return found[-1] if found[-1] <= 1 else found[-1] / 100


def contest(name, contestants, options):
    """Rounds of every contestant with every setting, alternating.  Returns rows, one a measurement."""
    workload, rows = WORKLOADS[name], []
    longest = max(len(THREADS[contestant]) for contestant in contestants)
    for round_number in range(options.rounds):
        for turn in range(longest):
            for contestant in contestants:
                if turn >= len(THREADS[contestant]):
                    continue
                threads, blas_threads = THREADS[contestant][turn]
                progress(f"{name}: round {round_number + 1} of {options.rounds}, {contestant}")
                if contestant == "lockstep":
                    answer = run_lockstep(options.lockstep, workload, threads, options.seconds)
                else:
                    job = {key: workload[key] for key in ("widths", "batch", "net") if key in workload}
                    if "ask_seconds" not in workload:
                        job["seconds"] = options.seconds
                    answer = run_worker(contestant, job, threads, blas_threads)
                    if "net" in workload and contestant == "pytorch":  # the layout that is faster counts
                        other = run_worker(contestant, {**job, "channels_last": True}, threads, blas_threads)
                        answer = max(answer, other, key=lambda result: result["samples_per_s"])
                    check_accuracy(contestant, answer.get("accuracy"))
                rows.append({"workload": name, "round": round_number + 1, "contestant": contestant, "threads": threads,
                             "blas_threads": blas_threads, **answer})
    progress("")
    return rows


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def check_accuracy(contestant, accuracy):
    if accuracy is not None and not accuracy >= LEAST_ACCURACY:
        sys.exit(f"bench_peers: {contestant} reached a test accuracy of {accuracy}, less than {LEAST_ACCURACY}: not timed")


# --- the report ----------------------------------------------------------------------------------------------------------

def flops_per_sample(workload):
    """Forward, weight gradient, and the input gradient of all but the first layer."""
    if "net" in workload:
        first, rest = 9 * 32 * 784, 9 * 32 * 64 * 196 + 3136 * 128 + 128 * 10
        return 2 * (2 * first + 3 * rest)
    widths = workload["widths"]
    products = [inputs * outputs for inputs, outputs in zip(widths, widths[1:])]
    return 2 * (3 * sum(products) - products[0])


def describe(row):
    if row["contestant"] == "pytorch" and row["blas_threads"] != row["threads"]:
        return f"pytorch, {row['threads']} thread, BLAS {row['blas_threads']}"
    return f"{row['contestant']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def report_settings(name, rows, peak):
    """The median of each contestant with each setting."""
    timed = "ask_seconds" in WORKLOADS[name]
    settings = {}
    for row in rows:
        settings.setdefault(describe(row), []).append(row)
    for setting, its in settings.items():
        key = "seconds" if timed else "samples_per_s"
        values = [row[key] for row in its]
        if timed:
            figures = f"{statistics.median(values):10.2f} s          best {min(values):.2f}"
            accuracies = [row["accuracy"] for row in its if "accuracy" in row]
            if accuracies:
                figures += f", test accuracy {100 * statistics.median(accuracies):.2f} %"
        else:
            gflops = statistics.median(values) * flops_per_sample(WORKLOADS[name]) / 1e9
            best = max(row.get("best_samples_per_s", row[key]) for row in its)
            figures = f"{statistics.median(values):10,.0f} samples/s  best {best:,.0f}, {gflops:.0f} GFLOP/s"
            threads = max(its[0]["threads"], its[0]["blas_threads"])
            if peak and threads in peak:
                figures += f", {100 * gflops / peak[threads]:.0f} % of peak"
        print(f"  {name:7} {setting:28}{figures}")


def best_by_round(rows, contestant):
    """round -> the row of that contestant's best setting."""
    best = {}
    for row in rows:
        if row["contestant"] == contestant:
            score = -row["seconds"] if "seconds" in row else row["samples_per_s"]
            if row["round"] not in best or score > best[row["round"]][0]:
                best[row["round"]] = (score, row)
    return {number: row for number, (_, row) in best.items()}


def report_ratios(name, rows):
    """lockstep's speed over each peer's, round by round.  Returns the median for PyTorch."""
    ours, answer = best_by_round(rows, "lockstep"), None
    for peer in ("pytorch", "sklearn"):
        theirs = best_by_round(rows, peer)
        if not theirs:
            continue
        if "ask_seconds" in WORKLOADS[name]:
            ratios = [theirs[number]["seconds"] / ours[number]["seconds"] for number in sorted(ours)]
        else:
            ratios = [ours[number]["samples_per_s"] / theirs[number]["samples_per_s"] for number in sorted(ours)]
        print(f"  {name:7} lockstep / {peer:17}{statistics.median(ratios):10.2f} x          rounds: "
              + " ".join(f"{ratio:.2f}" for ratio in ratios))
        if peer == "pytorch":
            answer = statistics.median(ratios)
    return answer


def verdicts(name, rows, ratio):
    """(what was asked, what was measured, met) of one workload."""
    workload, ours = WORKLOADS[name], best_by_round(rows, "lockstep").values()
    if "ask_ratio" in workload:
        yield f"{workload['ask_ratio']:g} x PyTorch", f"{ratio:.2f} x", ratio >= workload["ask_ratio"]
    if "ask_peak_share" in workload:
        share = statistics.median(row["peak_share"] for row in ours)
        yield f"{100 * workload['ask_peak_share']:g} % of peak", f"{100 * share:.1f} %", share >= workload["ask_peak_share"]
    if "ask_seconds" in workload:
        seconds = statistics.median(row["seconds"] for row in ours)
        yield f"under {workload['ask_seconds']:g} s", f"{seconds:.2f} s", seconds < workload["ask_seconds"]


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
    return (f"{model}, {CORES} cores, {' '.join(isa)}, Linux {platform.release()}, "
            f"load {os.getloadavg()[0]:.2f} at the start, {time.strftime('%Y-%m-%d')}")


def probe(contestant):
    """Version and BLAS of a library, or None when it cannot be imported."""
    command = [sys.executable, __file__, "--worker", contestant, json.dumps({"probe": True, "threads": 1})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout) if done.returncode == 0 else None


def require_installed(options):
    """The libraries found; leaves with status 2 and what to install when a comparison would be impossible or unfair."""
    libraries, missing = {name: probe(name) for name in ("pytorch", "sklearn")}, []
    if libraries["pytorch"] is None:
        missing.append("PyTorch is not there for " + sys.executable)
    elif libraries["pytorch"]["reference_blas"] and not options.any_blas:
        missing.append(f"PyTorch would use the reference BLAS: {libraries['pytorch']['blas']}")
    if missing:
        print(f"bench_peers: {missing[0]}; as root: apt-get install python3-torch libopenblas0-pthread\n"
              "(and run this with /usr/bin/python3)", file=sys.stderr)
        sys.exit(2)
    if "train" in options.workloads and not (DATA / "train-images-idx3-ubyte.gz").exists():
        print(f"bench_peers: no Fashion-MNIST in '{DATA}'; as root: apt-get install dataset-fashion-mnist", file=sys.stderr)
        sys.exit(2)
    if not options.peers_only and not os.access(options.lockstep, os.X_OK):
        print(f"bench_peers: '{options.lockstep}' is not there; run make, or give --lockstep FILE or --peers-only",
              file=sys.stderr)
        sys.exit(2)
    return libraries


def lockstep_version(binary):
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else "which does not know --version"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="small, large, conv64, conv256, train (default: all)")
    parser.add_argument("--lockstep", default="build/lockstep", metavar="FILE", help="binary to time (default: %(default)s)")
    parser.add_argument("--peers-only", action="store_true", help="do not run lockstep: no ratios, no asks")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S", help="a step measurement (default: %(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="write every measurement there")
    parser.add_argument("--require", action="store_true", help="exit with 1 when an ask is missed")
    parser.add_argument("--any-blas", action="store_true", help="time PyTorch even on the reference BLAS")
    options = parser.parse_args()
    options.workloads = options.workloads or list(WORKLOADS)
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"unknown workload '{name}'; known are {', '.join(WORKLOADS)}")
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    if "/" not in options.lockstep:
        options.lockstep = os.path.join(".", options.lockstep)
    return options


def main():
    options = parse_options()
    libraries = require_installed(options)
    print(f"machine  {machine_line()}")
    print(f"pytorch  {libraries['pytorch']['version']}, {libraries['pytorch']['blas']}")
    print(f"sklearn  {libraries['sklearn']['version'] if libraries['sklearn'] else 'not installed: left out'}")
    if not options.peers_only:
        print(f"lockstep {options.lockstep}, {lockstep_version(options.lockstep)}")
    print(f"rounds   {options.rounds}, {options.seconds:g} s a step measurement, medians unless stated\n", flush=True)

    everything, table, accuracy = [], [], None
    if not options.peers_only and "train" in options.workloads:
        accuracy = lockstep_accuracy(options.lockstep, WORKLOADS["train"])
        check_accuracy("lockstep", accuracy)
    for name in options.workloads:
        contestants = [] if options.peers_only else ["lockstep"]
        contestants += ["pytorch"] + (["sklearn"] if name == "train" and libraries["sklearn"] else [])
        rows = contest(name, contestants, options)
        everything += rows
        peak = {row["threads"]: row["gflops"] / row["peak_share"] for row in rows if "peak_share" in row}
        if name == "train" and accuracy is not None:
            for row in rows:
                if row["contestant"] == "lockstep":
                    row["accuracy"] = accuracy
        report_settings(name, rows, peak)
        if not options.peers_only:
            ratio = report_ratios(name, rows)
            table += [(name, *verdict) for verdict in verdicts(name, rows, ratio)]
        sys.stdout.flush()
    print(f"\n  load {os.getloadavg()[0]:.2f} at the end; well above {CORES} means that others were computing here")
    for name, ask, measured, met in table:
        print(f"  {name:7} asked: {ask:14} measured: {measured:9} {'met' if met else 'MISSED'}")
    if options.csv:
        write_csv(options.csv, everything)
    return 1 if options.require and not all(met for *_, met in table) else 0


def write_csv(path, rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--worker":
        sys.exit(work(sys.argv[2], json.loads(sys.argv[3])))
    sys.exit(main())
