"""PyTorch's side of the comparison, a process: pytorch_worker.py JOB, where JOB is a JSON object.

It makes its net, warms up, checks that the loss falls, and says so in a line; then, for each line with a number of seconds on
standard input, it trains for as long and answers with its speed.  So compiling and imports are never timed, and it sleeps
while others are measured.

Written as a careful user would for speed: no DataLoader, tensors in memory, batches by index from a permutation, gradients
dropped instead of zeroed, the fused optimiser.  With "ranks" in the job, the process of rank 0 starts the others; they train
under DistributedDataParallel with gloo, each its part of the batch, in blocks of steps that rank 0 announces.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

from fashion_mnist import fashion_mnist
from pytorch_nets import make_net
from workloads import EPOCHS, LEARNING_RATE, MOMENTUM, STEPS_LEARNING_RATE, TRAIN_SAMPLES

BLOCK_S = 0.05


class Training:
    """A net, its optimiser, and steps over tensors in memory."""

    def __init__(self, job, learning_rate):
        torch.manual_seed(1)
        self.job, self.ranks = job, job.get("ranks", 1)
        self.batch = job["batch"] // self.ranks
        self.net, self.n_inputs = make_net(job)
        self.initial = None
        if job.get("channels_last"):
            self.net = self.net.to(memory_format=torch.channels_last)
        try:
            self.optimiser = torch.optim.SGD(self.net.parameters(), lr=learning_rate, momentum=MOMENTUM, fused=True)
        except (TypeError, RuntimeError):  # before 2.4
            self.optimiser = torch.optim.SGD(self.net.parameters(), lr=learning_rate, momentum=MOMENTUM)
        net = nn.parallel.DistributedDataParallel(self.net) if self.ranks > 1 else self.net
        criterion = nn.CrossEntropyLoss()

        def forward(x, labels):
            return criterion(net(x), labels)

        self.forward = torch.compile(forward, dynamic=False) if job["mode"] == "compile" else forward

    def step(self, x, labels):
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.forward(x, labels)
        loss.backward()
        self.optimiser.step()
        return loss

    def epoch(self, x, labels):
        """One epoch in a new order, one step at each next()."""
        order = torch.randperm(len(x))
        for start in range(0, len(x), self.batch):
            index = order[start:start + self.batch]
            yield self.step(x[index], labels[index])

    def accuracy(self, x, labels):
        with torch.no_grad():
            return (self.net(x).argmax(1) == labels).float().mean().item()

    def verify(self, x, labels):
        """Steps on one batch must make its loss smaller."""
        losses = [self.step(x[:self.batch], labels[:self.batch]).item() for _ in range(8)]
        if not losses[-1] < losses[0]:
            sys.exit(f"pytorch_worker: the loss of one batch went from {losses[0]} to {losses[-1]} in 8 steps: not timed")


class Steps:
    """Training steps on random data, in blocks of about 50 ms."""

    def __init__(self, job):
        self.training = Training(job, STEPS_LEARNING_RATE)
        self.x = torch.rand(max(8192, 4 * job["batch"]) // self.training.ranks, self.training.n_inputs)
        self.labels = torch.randint(0, 10, (len(self.x),))
        self.training.verify(self.x, self.labels)
        self.batches = self.endless()
        self.block(3)
        self.n = max(1, round(3 * BLOCK_S / self.block(3)))

    def endless(self):
        while True:
            yield from self.training.epoch(self.x, self.labels)

    def block(self, n):
        begin = time.perf_counter()
        for _ in range(n):
            next(self.batches)
        return time.perf_counter() - begin

    def blocks(self, seconds):
        """The seconds of each block, until so many have passed."""
        took, until = [], time.perf_counter() + seconds
        while not took or time.perf_counter() < until:
            took.append(self.block(self.announce(self.n)))
        return took

    def announce(self, n):
        """Rank 0 tells the others how many steps come now."""
        if self.training.ranks > 1:
            torch.distributed.broadcast(torch.tensor([n]), 0)
        return n

    def follow(self):
        n = torch.tensor([0])
        while True:
            torch.distributed.broadcast(n, 0)
            if n.item() == 0:
                return
            self.block(int(n.item()))

    def measure(self, seconds):
        warm = self.blocks(0.3)
        self.n = max(1, round(self.n * BLOCK_S / statistics.median(warm)))
        took = self.blocks(seconds)
        samples = self.n * self.training.job["batch"]
        return {"samples_per_s": samples / statistics.median(took), "best_samples_per_s": samples / min(took)}


class Epochs:
    """Ten epochs of Fashion-MNIST from the gzip files to the tenth test accuracy; the clock starts after imports, and after
    the net was compiled for both sizes of batch."""

    def __init__(self, job):
        self.job, self.training = job, Training(job, LEARNING_RATE)
        last = TRAIN_SAMPLES % job["batch"] or job["batch"]
        for size in (job["batch"], last):
            self.training.step(torch.rand(size, self.training.n_inputs), torch.randint(0, 10, (size,)))

    def measure(self, _seconds):
        for layer in self.training.net:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        self.training.optimiser.state.clear()
        begin = time.perf_counter()
        x, labels, test_x, test_labels = (torch.from_numpy(array) for array in fashion_mnist())
        for _ in range(EPOCHS):
            for _ in self.training.epoch(x, labels):
                pass
            accuracy = self.training.accuracy(test_x, test_labels)
        seconds = time.perf_counter() - begin
        return {"samples_per_s": EPOCHS * len(x) / seconds, "seconds": seconds, "accuracy": accuracy}


def start_others(job, rendezvous):
    return [subprocess.Popen([sys.executable, __file__, json.dumps({**job, "rank": rank, "rendezvous": rendezvous})],
                             stdin=subprocess.DEVNULL) for rank in range(1, job["ranks"])]


def join(job):
    """Into the group of processes; rank 0 starts the others.  Each has a core of its own."""
    rank, others = job.get("rank", 0), []
    rendezvous = job.get("rendezvous") or "file://" + os.path.join(tempfile.mkdtemp(), "rendezvous")
    if rank == 0:
        others = start_others(job, rendezvous)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=job["ranks"])
    return rank, others


def main():
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    rank, others = join(job) if job.get("ranks", 1) > 1 else (0, [])
    contestant = Epochs(job) if job.get("train") else Steps(job)
    if rank > 0:
        contestant.follow()
        return
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(contestant.measure(float(line))), flush=True)
    if others:
        contestant.announce(0)
        for other in others:
            other.wait()


if __name__ == "__main__":
    main()
