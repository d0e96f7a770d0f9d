"""Everyone who can be timed: the settings each is tried with, and how it is started and asked.  A contestant either runs anew
for each measurement (lockstep), or is a process that sleeps on its standard input between them (all others)."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import workloads

CORES = len(os.sched_getaffinity(0))
HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
START_S, ANSWER_S = 1500, 600  # compiling a net for PyTorch may take minutes
NAMES = ("lockstep", "pytorch", "pytorch-ddp", "kann", "sklearn")
THREADS = sorted({1, CORES})


class Failed(Exception):
    """A contestant ended or gave no answer; says which and its last words."""


def settings_of(name, workload):
    """How a contestant is tried, each a dict with a `setting` that tells it from the others."""
    convolutional, train = workloads.is_convolutional(workload), workload.get("train")
    if name == "lockstep":
        ours = [{"setting": f"1 rank x {n} thread{'s' if n > 1 else ''}", "ranks": 1, "threads": n} for n in reversed(THREADS)]
        if CORES > 1 and shutil.which("mpirun"):
            ours.append({"setting": "2 ranks x 1 thread", "ranks": 2, "threads": 1})
        return ours
    if name in ("pytorch", "pytorch-ddp"):
        ddp = name == "pytorch-ddp"
        if ddp and (train or CORES == 1):
            return []
        layouts = [False, True] if convolutional else [False]
        return [{"setting": (f"2 processes x 1 thread, {mode}" if ddp else f"{mode}, {n} thread{'s' if n > 1 else ''}")
                 + (", channels last" if layout else ""),
                 "mode": mode, "ranks": 2 if ddp else 1, "threads": n, "channels_last": layout}
                for mode in ("eager", "compile") for n in ([1] if ddp else THREADS) for layout in layouts]
    if name == "kann":
        if convolutional or train:
            return []
        return [{"setting": f"{blas} BLAS thread{'s' if blas > 1 else ''}, {own} of its own", "blas_threads": blas, "threads": own}
                for blas, own in sorted({(1, 1), (CORES, 1), (1, CORES)})]
    return [{"setting": f"{n} BLAS thread{'s' if n > 1 else ''}", "threads": n} for n in THREADS] if train else []


class Process:
    """A contestant that waits for seconds on its standard input and answers each with a line of JSON."""

    def __init__(self, command, environment):
        self.command, self.log = command, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)

    def answer(self):
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            self.process.kill()
            self.log.seek(0)
            words = " ".join(map(str, self.command))[:200]
            raise Failed(f"{words}\n" + (line + self.log.read()).strip()[-1500:])
        return json.loads(line)

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Lockstep:
    """lockstep, which starts in no time: a run for each measurement, verified before the first."""

    def __init__(self, options, workload, setting):
        self.options, self.workload, self.setting = options, workload, setting
        self.launcher, self.environment = [], dict(os.environ)
        if setting["ranks"] > 1:
            self.launcher = ["mpirun", "-n", str(setting["ranks"]), "--bind-to", "core"]
            if os.getuid() == 0:
                self.environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        self.accuracy = self.verify()

    def run(self, *arguments):
        command = [*self.launcher, self.options.lockstep, *arguments, "--threads", str(self.setting["threads"])]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=ANSWER_S)
        if done.returncode != 0:
            raise Failed(f"status {done.returncode}: {' '.join(command)}\n{done.stderr.strip()[-1500:]}")
        return done.stdout

    def steps(self, *arguments):
        return json.loads(self.run("bench", "step", "--net", self.workload["net"], "--input", self.workload["input"], "--batch",
                                   str(self.workload["batch"]), "--json", *arguments))

    def train(self, *arguments):
        return self.run("train", "--data", "fashion-mnist", "--net", self.workload["net"], "--batch", str(self.workload["batch"]),
                        "--lr", str(workloads.LEARNING_RATE), "--momentum", str(workloads.MOMENTUM), "--epochs",
                        str(workloads.EPOCHS), "--quiet", *arguments)

    def verify(self):
        """Bits against the oracle; in training, the accuracy of the last epoch."""
        if not self.workload.get("train"):
            self.steps("--seconds", "0.05")
            return None
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "run.jsonl")
            self.train("--log", log)
            with open(log) as lines:
                records = [json.loads(line) for line in lines]
        return [record[key] for record in records for key in record if "accuracy" in key and record[key] is not None][-1]

    def measure(self, seconds):
        if not self.workload.get("train"):
            answer = self.steps("--seconds", str(seconds), "--no-verify")
            return {**answer, "best_samples_per_s": 1e6 * self.workload["batch"] / answer["best_step_us"]}
        begin = time.perf_counter()
        self.train()
        took = time.perf_counter() - begin
        samples = workloads.EPOCHS * workloads.TRAIN_SAMPLES
        return {"samples_per_s": samples / took, "seconds": took, "accuracy": self.accuracy}

    def stop(self):
        pass


def build_kann(folder):
    """Our driver with kann's sources and OpenBLAS; the program's path."""
    program = BUILD / "peers" / "kann_steps"
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [os.environ.get("CC", "gcc"), "-O3", "-march=native", "-std=gnu17", "-DHAVE_PTHREAD", "-DHAVE_CBLAS", f"-I{folder}",
               "-o", program, HERE / "kann_steps.c", f"{folder}/kann.c", f"{folder}/kautodiff.c", "-lopenblas", "-lpthread", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"kann does not build from '{folder}' (it needs libopenblas-dev):\n{done.stderr.strip()[-1500:]}")
    return program


def start(name, options, workload, setting):
    """(a contestant that can be asked, its version)."""
    if name == "lockstep":
        return Lockstep(options, workload, setting), None
    job = {key: workload[key] for key in ("net", "widths", "batch", "train") if key in workload}
    threads = {"OMP_NUM_THREADS": str(setting["threads"]), "OPENBLAS_NUM_THREADS": str(setting["threads"])}
    if name == "kann":
        command = [options.kann_program, str(workload["batch"]), str(setting["threads"]), *map(str, workload["widths"])]
        environment = {"OPENBLAS_NUM_THREADS": str(setting["blas_threads"])}
        if "avx512f" in open("/proc/cpuinfo").read():
            environment["OPENBLAS_CORETYPE"] = "SKYLAKEX"
    elif name == "sklearn":
        command, environment = ["/usr/bin/python3", str(HERE / "sklearn_worker.py"), json.dumps(job)], threads
    else:
        command = [options.python, str(HERE / "pytorch_worker.py"), json.dumps({**job, **setting})]
        environment = {**threads, "TORCHINDUCTOR_CACHE_DIR": str(BUILD / "peers-cache")}
    process = Process(command, environment)
    return process, process.answer()["version"]
