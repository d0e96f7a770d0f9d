"""Everyone who can be timed: the settings each is tried with, and how it is started and asked.  A contestant either runs anew
for each measurement (lockstep), or is a process that sleeps on its standard input between them (all others)."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import workloads


def count_cores():
    """Cores that may be used, the hardware threads of a core counted once: they share its arithmetic."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as text:
                cores.add(text.read())
        except OSError:
            cores.add(cpu)
    return len(cores)


CORES = count_cores()
HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
START_S, ANSWER_S = 1500, 600  # until it is ready (compiling a net for PyTorch may take minutes), and for each answer
NAMES = ("lockstep", "pytorch", "pytorch-ddp", "kann", "sklearn")
THREADS = sorted({1, CORES})
TWO_RANKS = 2  # of one thread each: compared with one rank of two threads


class Failed(Exception):
    """A contestant ended or gave no answer; says which and its last words."""


def settings_of(name, workload):
    """How a contestant is tried, each a dict with a `setting` that tells it from the others."""
    convolutional, train = workloads.is_convolutional(workload), workload.get("train")
    if name == "lockstep":
        two_ranks = CORES >= TWO_RANKS and shutil.which("mpirun")
        threads = sorted({*THREADS, TWO_RANKS} if two_ranks else THREADS, reverse=True)
        ours = [{"setting": f"1 rank x {n} thread{'s' if n > 1 else ''}", "ranks": 1, "threads": n} for n in threads]
        return ours + ([{"setting": "2 ranks x 1 thread", "ranks": TWO_RANKS, "threads": 1}] if two_ranks else [])
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
    """A contestant that waits for seconds on its standard input and answers each with a line of JSON.  One that gives no answer in
    time is ended, with all that it started, and named."""

    def __init__(self, name, command, environment):
        self.name, self.command, self.log = name, command, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, start_new_session=True)

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def answer(self, limit_s):
        late = threading.Event()
        timer = threading.Timer(limit_s, lambda: (late.set(), self.kill()))
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line.startswith("{"):
            return json.loads(line)
        self.kill()
        self.log.seek(0)
        what = f"hangs: no answer within {limit_s:g} s, so it was ended" if late.is_set() else "ended"
        words = " ".join(map(str, self.command))[:200]
        raise Failed(f"{self.name} {what}: {words}\n" + (line + self.log.read()).strip()[-1500:])

    def measure(self, seconds, limit_s=ANSWER_S):
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() tells of its end
        return self.answer(limit_s + seconds)

    def stop(self):
        try:
            self.process.stdin.close()
            self.process.wait(60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


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
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"lockstep, {self.setting['setting']} hangs: not done within {ANSWER_S} s: {' '.join(command)}") from None
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
    process = Process(f"{name}, {setting['setting']}", command, environment)
    try:
        return process, process.answer(START_S)["version"]
    except Failed:
        process.stop()
        raise
