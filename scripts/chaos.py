#!/usr/bin/env python3
"""Runs that are killed and resumed until they end, and every end compared with the run that nobody disturbed.

Each run starts on random ranks x threads x SIMD width (or --serial), is killed by SIGKILL at a random moment (all of
the job, one rank of it, or rank 0 while a checkpoint is half written), and goes on from its checkpoints on other random
ranks, one to three times.  Its model must be the same file as that of the serial run without checkpoints, its log must
verify as identical, and no start may end in any other way than by the kill or well.  Exit status 1 when one does not.

usage: scripts/chaos.py [--runs N] [--seed S] [--program build/lockstep]
"""
import argparse
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CONV = ['--data', 'synthetic:n=600,shape=3x9x8,classes=5,test=90', '--net',
        'conv 6 3x3 pad 1, batchnorm, relu, dropout 0.2, residual { conv 6 3x3 pad 1, batchnorm }, relu, dense 5',
        '--batch', '24', '--microbatch', '4', '--accumulate', '2', '--optimizer', 'adam', '--ema', '0.9',
        '--schedule', 'plateau patience=2 factor=0.5', '--check-every', '5', '--keep', 'best', '--monitor', 'accuracy',
        '--augment', 'flip,crop=1', '--epochs', '16', '--hash-every', '10']
PLAIN = ['--epochs', '30', '--batch', '100', '--microbatch', '8', '--momentum', '0.9', '--schedule', 'cosine',
         '--warmup', '0.5', '--hash-every', '25']
NETS = {'conv': CONV, 'plain': PLAIN}
LIMIT_S = 120  # for a start that is not killed

ENVIRONMENT = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1', 'OMPI_MCA_mpi_yield_when_idle': '1',
               'OMPI_MCA_hwloc_base_binding_policy': 'none', 'OMPI_MCA_rmaps_base_oversubscribe': '1',
               'OMP_WAIT_POLICY': 'passive'}


class Chaos:
    def __init__(self, options, folder):
        self.random = random.Random(options.seed)
        self.program = os.path.abspath(options.program)
        self.folder = folder
        self.counts = {'starts': 0, 'job': 0, 'rank': 0, 'write': 0, 'half written': 0, 'not begun': 0, 'too late': 0}
        self.isas = [isa for isa in ('portable', 'avx2', 'avx512') if self.runs_here(isa)]
        self.with_mpi = shutil.which('mpirun') is not None

    def runs_here(self, isa):
        return subprocess.run([self.program, 'train', '--epochs', '0', '--quiet'], capture_output=True,
                              env={**os.environ, 'LOCKSTEP_ISA': isa}, check=False).returncode == 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def layout(self):
        """A random way to start: words in front, words behind, environment, and what to call it."""
        ranks = self.random.choice([1, 1, 2, 3, 4, 5]) if self.with_mpi else 1
        threads, isa = self.random.randint(1, 3), self.random.choice(self.isas)
        if ranks == 1 and self.random.random() < 0.3:
            return [], ['--serial'], {}, 'serial'
        before = ['mpirun', '-n', str(ranks)] if ranks > 1 else []
        return before, ['--threads', str(threads)], {'LOCKSTEP_ISA': isa}, f'{ranks}x{threads} {isa}'

    def start(self, arguments):
        before, behind, environment, name = self.layout()
        self.counts['starts'] += 1
        with open(self.path('out'), 'w', encoding='utf-8') as out:
            process = subprocess.Popen([*before, self.program, 'train', *arguments, *behind, '--quiet'], stdout=out,
                                       stderr=out, env={**os.environ, **ENVIRONMENT, **environment})
        return process, name, bool(before)

    @staticmethod
    def ranks_of(process, under_mpi):
        if not under_mpi:
            return [process.pid]
        try:
            with open(f'/proc/{process.pid}/task/{process.pid}/children', encoding='ascii') as file:
                return [int(pid) for pid in file.read().split()]
        except OSError:
            return []

    @staticmethod
    def half_written(checkpoints):
        try:
            return any(name.endswith('.tmp') for name in os.listdir(checkpoints))
        except OSError:
            return False

    def kill(self, process, under_mpi, kind, checkpoints):
        """Waits for the moment and kills.  False: the run was over before."""
        moment = time.monotonic() + self.random.uniform(0.1, 0.7 + (0.8 if under_mpi else 0))
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.001)
        limit = time.monotonic() + 2
        while kind == 'write' and process.poll() is None and time.monotonic() < limit:
            if self.half_written(checkpoints):
                break
        ranks = self.ranks_of(process, under_mpi)
        if process.poll() is not None or not ranks:
            return False
        victims = [self.random.choice(ranks)] if kind == 'rank' else ranks[:1] if kind == 'write' else \
            [process.pid, *ranks]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait(LIMIT_S)
        self.counts['half written'] += self.half_written(checkpoints)
        return process.returncode != 0

    def one(self, number):
        """One run until its end, and once more if it was over before any kill; returns what was wrong, or None."""
        net = self.random.choice(list(NETS))
        checkpoints, model, log = self.path(f'{number}'), self.path(f'{number}.safetensors'), self.path(f'{number}.jsonl')
        every = self.random.choice(['1', '1', '7', '0.05seconds'])
        fixed = ['--checkpoint', checkpoints, '--resume', checkpoints, '--save', model, '--log', log]
        begin = [*NETS[net], '--checkpoint-every', every, '--keep', str(self.random.randint(1, 4))]
        story = f'{net}, every {every}:'
        wanted = kills = self.random.randint(1, 3)
        while True:
            begun = os.path.isdir(checkpoints) and any(n.endswith('.safetensors') for n in os.listdir(checkpoints))
            process, name, under_mpi = self.start([*([] if begun else begin), *fixed])
            kind = self.random.choice(['job', 'rank', 'write'])
            if kills > 0 and self.kill(process, under_mpi, kind, checkpoints):
                kills -= 1
                self.counts[kind] += 1
                self.counts['not begun'] += not begun
                story += f' {name} killed ({kind}),'
                continue
            try:
                status = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                status = 'too slow'
            story += f' {name}'
            if status != 0:
                with open(self.path('out'), encoding='utf-8') as out:
                    return f'{story}: status {status}: {out.read()[-600:]}'
            if kills == wanted:
                self.counts['too late'] += 1
                shutil.rmtree(checkpoints)
                continue
            break
        print(f'{number:4d}  {story}', flush=True)
        if not filecmp.cmp(model, self.path(f'{net}.safetensors'), shallow=False):
            return f'{story}: the model is another than the undisturbed one'
        same = subprocess.run([self.program, 'verify', log, self.path(f'{net}.jsonl')], capture_output=True, text=True,
                              check=False)
        shutil.rmtree(checkpoints)
        return None if same.returncode == 0 else f'{story}: the log differs: {same.stdout}{same.stderr}'

    def references(self):
        for net, arguments in NETS.items():
            subprocess.run([self.program, 'train', *arguments, '--serial', '--quiet', '--save',
                            self.path(f'{net}.safetensors'), '--log', self.path(f'{net}.jsonl')], check=True,
                           stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=50)
    parser.add_argument('--seed', type=int, default=int(time.time()))
    parser.add_argument('--program', default='build/lockstep')
    options = parser.parse_args()
    began = time.monotonic()
    failures = []
    print(f'chaos: {options.runs} runs, seed {options.seed}', flush=True)
    with tempfile.TemporaryDirectory(prefix='lockstep-chaos-') as folder:
        chaos = Chaos(options, folder)
        chaos.references()
        for number in range(1, options.runs + 1):
            wrong = chaos.one(number)
            if wrong:
                failures.append(wrong)
                print(f'FAILED  {wrong}', flush=True)
    c = chaos.counts
    killed = c['job'] + c['rank'] + c['write']
    print(f"{options.runs - len(failures)} of {options.runs} runs ended with the undisturbed run's model and log; "
          f"{c['starts']} starts, {killed} kills: {c['job']} of the job, {c['rank']} of one rank, {c['write']} while "
          f"writing ({c['half written']} left a file half written); {c['not begun']} before a first checkpoint, "
          f"{c['too late']} starts were over before any kill; {time.monotonic() - began:.0f} s, seed {options.seed}")
    sys.exit(1 if failures or killed < options.runs else 0)


if __name__ == '__main__':
    main()
