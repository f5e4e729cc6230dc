"""Exact MAML in PyTorch from the start and on the rows that curve.c wrote down.

	curve.py sinusoid|binary ITERATIONS FILE TOLERANCE

Prints how far the losses of the meta-iterations are apart, and both at the end; fails where they are further apart
than TOLERANCE, relatively.
"""
import sys

import numpy
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
sinusoid, iterations = sys.argv[1] == 'sinusoid', int(sys.argv[2])
sizes, tasks, steps, rate = ([1, 40, 40, 1], 25, 1, 0.01) if sinusoid else ([32, 64, 64, 1], 32, 5, 0.05)
file = torch.from_numpy(numpy.fromfile(sys.argv[3], dtype=numpy.float32))


def take(*shape):
    global file
    n = int(numpy.prod(shape))
    numbers, file = file[:n].view(*shape), file[n:]
    return numbers


# weights are (in, out)
theta = [take(*shape).clone().requires_grad_() for n, m in zip(sizes, sizes[1:]) for shape in ((n, m), (1, m))]


def losses(params, x, y):
    for i in range(0, len(params), 2):
        x = torch.baddbmm(params[i + 1], x, params[i])
        if i + 2 < len(params):
            x = F.relu(x)
    each = (x - y) ** 2 if sinusoid else F.binary_cross_entropy_with_logits(x, y, reduction='none')
    return each.mean(dim=(1, 2))


optimiser = torch.optim.Adam(theta, lr=0.001)
ours, theirs = [], []
for _ in range(iterations):
    rows = take(tasks, 2, 10, sizes[0] + 1)
    x, y = rows[..., :-1], rows[..., -1:]
    params = [t.unsqueeze(0).expand(tasks, -1, -1) for t in theta]
    for _ in range(steps):
        slopes = torch.autograd.grad(losses(params, x[:, 0], y[:, 0]).sum(), params, create_graph=True)
        params = [p - rate * s for p, s in zip(params, slopes)]
    loss = losses(params, x[:, 1], y[:, 1]).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    ours.append(take(1).item())
    theirs.append(loss.item())
assert len(file) == 0
ours, theirs = numpy.array(ours), numpy.array(theirs)
apart = abs(ours - theirs) / theirs
last = max(1, iterations // 10)
print(f'{sys.argv[1]}: relative difference of the losses: first {apart[0]:.1e}, at most {apart.max():.1e} in {iterations} meta-iterations; '
      f'mean of the last {last}: meta {ours[-last:].mean():.5f}, PyTorch {theirs[-last:].mean():.5f} (of the first {last}: {theirs[:last].mean():.5f})')
sys.exit(1 if apart.max() > float(sys.argv[4]) else 0)
