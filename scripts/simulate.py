#!/usr/bin/env python3
"""Training steps on simulated nodes (SimGrid's SMPI): computing is time that passes, the communication is the code of src/comm.

A fat tree of 64, 256 or 1,024 nodes, one rank a node.  Times are simulated, so they repeat whatever machine this runs on.  How
long a point takes of one core: a second for 64 nodes, some ten for 256, a minute or two for 1,024.  The simulated machine is
printed above the table; --csv FILE gets each point as soon as it is there, and points that FILE has are not simulated again.

    make sim
    scripts/simulate.py --nodes 1,4,16,64 --models resnet50,vgg-a,dense7 --csv scaling.csv
    scripts/simulate.py --nodes 128 --models vgg-a --scaling strong --batch 512
    scripts/simulate.py --allreduce --nodes 16,64
"""
import argparse
import csv
import itertools
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
    command += ["--cfg=smpi/simulate-computation:no", f"--cfg=smpi/allreduce:{allreduce}"]
    # Of setting up: SMPI's own allgather takes time that grows with the cube of the ranks.  Polls cost what sim/main.c says.
    command += ["--cfg=smpi/allgather:bruck", "--cfg=smpi/test:0"]
    done = subprocess.run(command + [str(SIM), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"simulate.py: {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return [float(word) for word in done.stdout.split()]


class Points:
    """The points of a CSV file: what each is of, and its figures."""

    def __init__(self, path, keys):
        self.path, self.keys, self.rows = path, keys, []
        if path and pathlib.Path(path).exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, point):
        """The figures of a point, if they are there."""
        for row in self.rows:
            if all(row[key] == point[key] if key == "model" else float(row[key]) == point[key] for key in self.keys):
                return row
        return None

    def add(self, point):
        self.rows.append({key: str(value) for key, value in point.items()})
        if not self.path:
            return
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.rows[-1].keys())
            writer.writeheader()
            writer.writerows(self.rows)


def compare_allreduces(options, folder):
    points = Points(options.csv, ["nodes", "gbit", "bytes"])
    print(f"additions at {options.memory:g} GB/s of memory; those of SMPI's algorithms, and ours in the second column, take no time")
    print(f"{'nodes':>6} {'Gbit/s':>7} {'bytes':>10} {'lockstep ms':>12} {'messages ms':>12}" + "".join(f"{a + ' ms':>14}" for a in options.algorithms))
    for gbit in options.gbit:
        for nodes in options.nodes:
            for size in options.bytes:
                point = {"nodes": nodes, "gbit": gbit, "bytes": size}
                if not points.find(point):
                    for algorithm in options.algorithms:
                        point["lockstep_s"], _ = simulate(folder, nodes, gbit, ["allreduce", size, options.memory], algorithm)
                        point["messages_s"], point[algorithm] = simulate(folder, nodes, gbit, ["allreduce", size, 1e9], algorithm)
                    points.add(point)
                row = points.find(point)
                print(f"{nodes:6} {gbit:7} {size:10} {float(row['lockstep_s']) * 1e3:12.3f} {float(row['messages_s']) * 1e3:12.3f}" + "".join(f"{float(row[a]) * 1e3:14.3f}" for a in options.algorithms), flush=True)


def efficiency(row, key):
    return f"{100 * float(row['alone_s']) / float(row[key]):9.1f} %"


def compare_steps(options, folder):
    keys = ["model", "gbit", "nodes", "batch_a_node", "gflops", "memory_gb_s", "bucket_bytes", "piece_gflop"]
    points = Points(options.csv, keys)
    print(f"{'model':>9} {'Gbit/s':>7} {'nodes':>6} {'scaling':>8} {'a node':>7} {'step ms':>9} {'alone ms':>9} {'speedup':>8} {'efficiency':>10} {'no overlap':>11}")
    for model, gbit, scaling, nodes in itertools.product(options.models, options.gbit, options.scaling, options.nodes):
        weak, strong = BATCHES[model]
        batch = (options.batch or weak) if scaling == "weak" else (options.batch or strong) / nodes
        if batch < 1:
            continue
        figures = [model, gbit, nodes, batch, options.gflops, options.memory, options.bucket, options.piece]
        point = dict(zip(keys, figures))
        if not points.find(point):
            words = ["step", model, batch, options.gflops, options.memory]
            for key, count, bucket in (("step_s", nodes, options.bucket), ("no_overlap_s", nodes, 0), ("alone_s", 1, 0)):
                (point[key],) = simulate(folder, count, gbit, words + [bucket, options.piece])
            points.add(point)
        row = points.find(point)
        alone, took = float(row["alone_s"]), float(row["step_s"])
        print(
            f"{model:>9} {gbit:7} {nodes:6} {scaling:>8} {batch:7g} {took * 1e3:9.2f} {alone * 1e3:9.2f} {alone / took * nodes:8.1f} "
            f"{efficiency(row, 'step_s')} {efficiency(row, 'no_overlap_s')}",
            flush=True,
        )


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
    parser.add_argument("--bucket", type=float, default=1e6, help="bytes of a bucket at least (1e6, as train has)")
    parser.add_argument("--piece", type=float, default=1, help="GFLOP of an input gradient between two looks after messages (1, as train has); 0: all of it")
    parser.add_argument("--batch", type=float, help="samples: a node for weak scaling, in all for strong (32 and 2048, 16 and 4096, 64 and 4096)")
    parser.add_argument("--allreduce", action="store_true", help="only the allreduce, beside MPI_Allreduce by other algorithms")
    parser.add_argument("--algorithms", type=numbers(str), default=["rab", "ompi", "mvapich2"], help="of SMPI (rab,ompi,mvapich2)")
    parser.add_argument("--bytes", type=numbers(float), default=[16e3, 1e6, 16e6, 100e6], help="of vectors")
    parser.add_argument("--csv", help="a file for the figures")
    options = parser.parse_args()
    if not SIM.exists():
        sys.exit("simulate.py: build/sim/sim is not built: make sim")
    print(f"fat trees of {sorted(TREES)} nodes, 1 us a link, one rank a node; SimGrid's SMPI")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if options.allreduce:
            compare_allreduces(options, folder)
        else:
            print(f"a node: {options.gflops:g} GFLOP/s, memory {options.memory:g} GB/s, buckets of {options.bucket / 1e6:g} MB, input gradients in pieces of {options.piece:g} GFLOP")
            compare_steps(options, folder)


if __name__ == "__main__":
    main()
