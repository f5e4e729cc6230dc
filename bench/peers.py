"""The peers in PyTorch, one round of all ways in one process: see peers.sh.

	peers.py FOLDER WAYS [L2L]

Prints a line per case and way: case-way, meta-iterations per second by the clock and by processor time, without what
making up rows takes, and microseconds to adapt one task.
"""
import contextlib
import io
import math
import re
import runpy
import sys
import time

import torch

FOLDER, WAYS, L2L = sys.argv[1], sys.argv[2].split(), ''.join(sys.argv[3:])
CASES = {
    'tabular': ('maml_tabular.py', '--d 32 --hidden 64,64 --shots 10 --query 10 --tasks 32 --steps 5 --adapt-latency', 40, 4),
    'sinusoid': ('maml_sinusoid.py', '--hidden 40 --shots 10 --query 10 --tasks 25 --steps 1', 200, 20),
}


def run(file, arguments):
    """What a peer prints, and its processor time in seconds."""
    sys.argv = [file] + arguments
    out = io.StringIO()
    start = time.process_time()
    with contextlib.redirect_stdout(out):
        runpy.run_path(f'{FOLDER}/{file}', run_name='__main__')
    return out.getvalue(), time.process_time() - start


def sinusoid_sampler():
    """Milliseconds for the rows of a meta-iteration as maml_sinusoid.py makes them, which does not say it itself."""
    torch.set_num_threads(1)
    gen = torch.Generator()
    times = []
    for _ in range(300):
        start = time.perf_counter()
        amplitude = torch.rand(25, 1, 1, generator=gen) * 4.9 + 0.1
        phase = torch.rand(25, 1, 1, generator=gen) * math.pi
        x = torch.rand(25, 20, 1, generator=gen) * 10 - 5
        amplitude * torch.sin(x - phase)
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[150]


for way in WAYS:
    for case, (file, arguments, batched, looped) in CASES.items():
        n = looped if way in ('loop', 'l2l') else batched
        arguments = f'--variant {way} --threads 1 --eval-tasks 0 {arguments}'.split() + ['--l2l', L2L]
        # the difference of a long and a short run is free of what a start takes
        short, cpu_short = run(file, arguments + ['--iters', str(n)])
        long, cpu_long = run(file, arguments + ['--iters', str(4 * n)])
        ms = float(re.search(r'([\d.]+) ms/iter', long)[1])
        sampler = re.search(r'sampler ([\d.]+) ms', long)
        sampler = float(sampler[1]) if sampler else sinusoid_sampler()
        latency = re.search(r'p50 (\d+) us', long)
        print(f'{case}-{way} {1000 / (ms - sampler):.2f} {1 / ((cpu_long - cpu_short) / (3 * n) - sampler / 1000):.2f} '
              f'{latency[1] if latency else ""}', flush=True)
