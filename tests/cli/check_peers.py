#!/usr/bin/python3
"""The table of scripts/bench_peers.py from measurements that are made up: ratios are taken within a round, medians of rounds
decide, and each ask is met or not as the numbers say.  And a contestant that hangs is ended and named.  Exit status 1 and what is
wrong when it is not so."""
import os
import subprocess
import sys
import tempfile
import time

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
sys.path[:0] = [SCRIPTS, os.path.join(SCRIPTS, "peers")]
sys.dont_write_bytecode = True
import bench_peers  # noqa: E402
import contestants  # noqa: E402
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
    lockstep(number, "1 rank x 8 threads", 1100 * speed, 1, 8),
    lockstep(number, "1 rank x 2 threads", 1200 * speed, 1, 2),
    lockstep(number, "1 rank x 1 thread", 600 * speed, 1, 1),
    lockstep(number, "2 ranks x 1 thread", 1140 * speed, 2, 1),
    row(number, "pytorch", "eager", 250 * speed),
    row(number, "pytorch", "compile", 300 * speed, threads=2),
    row(number, "pytorch-ddp", "ddp", 100 * speed, ranks=2),
    row(number, "kann", "kann", 800 * speed))]


def hangs(script, *asks):
    """What is wrong with how a contestant that hangs is met: a shell script, asked to start and then for each of `asks` seconds."""
    process = contestants.Process("peer, some setting", ["sh", "-c", script], {})
    began = time.monotonic()
    try:
        process.answer(20 if asks else 0.3)
        for seconds in asks:
            process.measure(seconds, 0.3)
        return [f"'{script}' hangs, and that was not found"]
    except contestants.Failed as failure:
        found = str(failure)
    finally:
        process.stop()
    wrong = [] if found.startswith("peer, some setting hangs: no answer within 0.3") else [f"'{script}' hangs, which was told as: {found}"]
    return wrong + ([f"'{script}': {time.monotonic() - began:.0f} s"] if time.monotonic() - began > 15 else [])


def settings_on(cores):
    contestants.CORES, contestants.THREADS = cores, sorted({1, cores})
    return [each["setting"] for each in contestants.settings_of("lockstep", bench_peers.WORKLOADS["dense-128"])]


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.csv")
        bench_peers.append_csv(path, ROWS[:8])
        bench_peers.append_csv(path, ROWS[8:])
        read = bench_peers.read_csv(path)
        status = subprocess.run([sys.executable, os.path.join(SCRIPTS, "bench_peers.py"), "--report", path, "--require"],
                                capture_output=True).returncode
    lines = {line[2]: line[4:] for line in report.table(read)}
    expected = {
        "1 rank x 8 threads": ("1,100", "13.8 %", "", "55 % of FMA peak", "no"),
        "1 rank x 2 threads": ("1,200", "60.0 %", "", "", ""),
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
    wrong += hangs("sleep 60 & sleep 60") + hangs("""echo '{"version": 1}'; sleep 60""", 0.01)
    if bench_peers.contestants.shutil.which("mpirun") and settings_on(8) != [
            "1 rank x 8 threads", "1 rank x 2 threads", "1 rank x 1 thread", "2 ranks x 1 thread"]:
        wrong.append(f"on 8 cores lockstep is timed with {settings_on(8)}")
    if "samples of one byte" not in report.markdown(read):
        wrong.append("the table does not say what samples are made of")
    if status != 1:
        wrong.append(f"--require with a missed ask gave status {status}, expected 1")
    print("\n".join(wrong) or f"{len(expected)} lines of the table are right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
