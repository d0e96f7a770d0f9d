#!/usr/bin/env python3
"""Training steps on simulated nodes (SimGrid's SMPI): computing is time that passes, the communication is the code of src/comm.

A fat tree of 64, 256 or 1,024 nodes, one rank a node.  Times are simulated, so they repeat whatever machine this runs on; how
long the simulation takes grows with the messages: seconds for 64 nodes, a quarter of an hour and more for 256.  The simulated machine is printed above the table.

    make sim
    scripts/simulate.py --nodes 1,4,16,64 --models resnet50,vgg-a,dense7 --csv scaling.csv
    scripts/simulate.py --allreduce --nodes 16,64
"""
import argparse
import csv
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIM = ROOT / "build/sim/sim"
# Nodes -> down links a switch, up links, parallel links, of two levels.
TREES = {64: "2;8,8;1,4;1,1", 256: "2;16,16;1,8;1,1", 1024: "2;32,32;1,16;1,1"}
# Samples: weak, a node; strong, in all.
BATCHES = {"resnet50": (32, 2048), "vgg-a": (16, 4096), "dense7": (64, 4096)}


def platform(folder, nodes, gbit):
    """Files that describe the smallest tree with so many nodes."""
    size = min(n for n in TREES if n >= nodes)
    xml = folder / f"tree-{size}-{gbit}.xml"
    xml.write_text(
        f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="tree" prefix="n" suffix="" radical="0-{size - 1}" speed="50Gf" bw="{gbit / 8}GBps" lat="1us"
           topology="FAT_TREE" topo_parameters="{TREES[size]}" loopback_bw="20GBps" loopback_lat="100ns"/>
</platform>
"""
    )
    hosts = folder / f"hosts-{size}"
    hosts.write_text("".join(f"n{i}\n" for i in range(size)))
    return xml, hosts


def simulate(folder, nodes, gbit, words, allreduce="rab"):
    xml, hosts = platform(folder, nodes, gbit)
    command = ["smpirun", "-np", str(nodes), "-platform", str(xml), "-hostfile", str(hosts), "--log=root.thresh:warning"]
    command += ["--cfg=smpi/host-speed:50Gf", "--cfg=smpi/simulate-computation:no", f"--cfg=smpi/allreduce:{allreduce}"]
    command += ["--cfg=smpi/shared-malloc-blocksize:16777216", "--cfg=smpi/test:2e-7", "--cfg=smpi/grow-injected-times:no"]
    done = subprocess.run(command + [str(SIM), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"simulate.py: {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return [float(word) for word in done.stdout.split()]


def compare_allreduces(options, folder, out):
    print(f"{'nodes':>6} {'Gbit/s':>7} {'bytes':>10} {'lockstep ms':>12}" + "".join(f"{a + ' ms':>14}" for a in options.algorithms))
    for gbit in options.gbit:
        for nodes in options.nodes:
            for size in options.bytes:
                theirs = []
                for algorithm in options.algorithms:
                    ours, one = simulate(folder, nodes, gbit, ["allreduce", size], algorithm)
                    theirs.append(one)
                print(f"{nodes:6} {gbit:7} {size:10} {ours * 1e3:12.3f}" + "".join(f"{t * 1e3:14.3f}" for t in theirs), flush=True)
                out.append({"nodes": nodes, "gbit": gbit, "bytes": size, "lockstep_s": ours, **dict(zip(options.algorithms, theirs))})


def compare_steps(options, folder, out):
    print(f"{'model':>9} {'Gbit/s':>7} {'nodes':>6} {'scaling':>8} {'a node':>7} {'step ms':>9} {'alone ms':>9} {'efficiency':>10} {'no overlap':>11}")
    for model in options.models:
        for gbit in options.gbit:
            for scaling in options.scaling:
                for nodes in options.nodes:
                    weak, strong = BATCHES[model]
                    batch = weak if scaling == "weak" else strong / nodes
                    if batch < 1:
                        continue
                    words = ["step", model, batch, options.gflops, options.memory]
                    (alone,) = simulate(folder, 1, gbit, words + [0, options.poll])
                    (overlapped,) = simulate(folder, nodes, gbit, words + [options.bucket, options.poll])
                    (plain,) = simulate(folder, nodes, gbit, words + [0, options.poll]) if options.plain else (float("nan"),)
                    print(
                        f"{model:>9} {gbit:7} {nodes:6} {scaling:>8} {batch:7g} {overlapped * 1e3:9.2f} {alone * 1e3:9.2f} "
                        f"{100 * alone / overlapped:9.1f} % {100 * alone / plain:9.1f} %",
                        flush=True,
                    )
                    out.append({"model": model, "gbit": gbit, "nodes": nodes, "scaling": scaling, "batch_a_node": batch, "step_s": overlapped,
                                "alone_s": alone, "no_overlap_s": plain})  # fmt: skip


def numbers(kind):
    return lambda text: [kind(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=numbers(int), default=[1, 4, 16, 64], help="numbers of nodes (1,4,16,64)")
    parser.add_argument("--models", type=numbers(str), default=list(BATCHES), help="resnet50,vgg-a,dense7")
    parser.add_argument("--scaling", type=numbers(str), default=["weak", "strong"], help="weak,strong")
    parser.add_argument("--gbit", type=numbers(float), default=[100.0], help="network, Gbit/s (100)")
    parser.add_argument("--gflops", type=float, default=2450, help="what a node computes, GFLOP/s (2450: 32 cores of 118 at 65 %%)")
    parser.add_argument("--memory", type=float, default=100, help="a node's memory, GB/s (100)")
    parser.add_argument("--bucket", type=float, default=4e6, help="bytes of a bucket at least (4e6)")
    parser.add_argument("--poll", type=float, default=200, help="a node that computes sees to its messages every so many us (200)")
    parser.add_argument("--plain", action="store_true", help="also without overlap")
    parser.add_argument("--allreduce", action="store_true", help="only the allreduce, beside MPI_Allreduce by other algorithms")
    parser.add_argument("--algorithms", type=numbers(str), default=["rab", "ompi", "mvapich2"], help="of SMPI (rab,ompi,mvapich2)")
    parser.add_argument("--bytes", type=numbers(float), default=[16e3, 1e6, 16e6, 100e6], help="of vectors")
    parser.add_argument("--csv", help="a file for the figures")
    options = parser.parse_args()
    if not SIM.exists():
        sys.exit("simulate.py: build/sim/sim is not built: make sim")
    rows = []
    print(f"fat trees of {sorted(TREES)} nodes, 1 us a link, one rank a node; SimGrid's SMPI")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if options.allreduce:
            compare_allreduces(options, folder, rows)
        else:
            print(f"a node: {options.gflops:g} GFLOP/s, memory {options.memory:g} GB/s, buckets of {options.bucket / 1e6:g} MB, polls every {options.poll:g} us")
            compare_steps(options, folder, rows)
    if options.csv and rows:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
