#!/usr/bin/python3
"""The table of scripts/bench_peers.py from measurements that are made up: ratios are taken within a round, medians of rounds
decide, and each ask is met or not as the numbers say.  Exit status 1 and what is wrong when it is not so."""
import os
import subprocess
import sys
import tempfile

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
sys.path[:0] = [SCRIPTS, os.path.join(SCRIPTS, "peers")]
sys.dont_write_bytecode = True
import bench_peers  # noqa: E402
import report  # noqa: E402


def row(number, contestant, setting, speed, **more):
    cells = {"run": "1", "workload": "dense-128", "round": number, "contestant": contestant, "setting": setting, "ranks": 1,
             "threads": 1, "samples_per_s": speed, "version": "v", "machine": "m", "lockstep": "l", **more}
    return {column: str(cells.get(column, "")) for column in bench_peers.COLUMNS}


def lockstep(number, setting, speed, ranks, threads):
    """One sample is a GFLOP, a core's peak 1,000 samples/s."""
    peak = 1000 * ranks * threads
    return row(number, "lockstep", setting, speed, ranks=ranks, threads=threads, gflops=speed, peak_gflops=peak,
               peak_share=speed / peak)


# The second round ran on a machine of half the speed: a ratio across rounds would be wrong.
ROWS = [each for number, speed in ((1, 1.0), (2, 0.5), (3, 1.0)) for each in (
    lockstep(number, "1 rank x 2 threads", 1200 * speed, 1, 2),
    lockstep(number, "1 rank x 1 thread", 600 * speed, 1, 1),
    lockstep(number, "2 ranks x 1 thread", 1140 * speed, 2, 1),
    row(number, "pytorch", "eager", 250 * speed),
    row(number, "pytorch", "compile", 300 * speed, threads=2),
    row(number, "pytorch-ddp", "ddp", 100 * speed, ranks=2),
    row(number, "kann", "kann", 800 * speed))]


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.csv")
        bench_peers.append_csv(path, ROWS[:7])
        bench_peers.append_csv(path, ROWS[7:])
        read = bench_peers.read_csv(path)
        status = subprocess.run([sys.executable, os.path.join(SCRIPTS, "bench_peers.py"), "--report", path, "--require"],
                                capture_output=True).returncode
    lines = {line[2]: line[4:] for line in report.table(read)}
    expected = {
        "1 rank x 2 threads": ("1,200", "60.0 %", "", "55 % of FMA peak", "yes"),
        "1 rank x 1 thread": ("600", "60.0 %", "", "", ""),
        "2 ranks x 1 thread": ("1,140", "57.0 %", "0.950 (0.950 to 0.950) x that with 1 rank x 2 threads", "within 4 %", "no"),
        "eager": ("250", "25.0 %", "", "", ""),
        "compile": ("300", "15.0 %", "4.00 (4.00 to 4.00) x as fast", "3 x", "yes"),
        "ddp": ("100", "5.0 %", "11.40 (11.40 to 11.40) x as fast", "", ""),
        "kann": ("800", "80.0 %", "1.50 (1.50 to 1.50) x as fast", "2 x", "no"),
    }
    wrong = [f"{setting}: {lines.get(setting)}, expected {line}" for setting, line in expected.items() if lines.get(setting) != line]
    best = report.best_settings(read, "dense-128")
    if best["pytorch"] != "compile" or report.best_settings(read, "conv"):
        wrong.append(f"the best settings are not {best}")
    if status != 1:
        wrong.append(f"--require with a missed ask gave status {status}, expected 1")
    print("\n".join(wrong) or f"{len(expected)} lines of the table are right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
