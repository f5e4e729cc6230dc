#!/usr/bin/python3
"""Writes images.h: exact MAML through convolutional networks with batch normalisation.

PyTorch's own convolution and pooling, task by task.  Numbers come from the formula that test_image_learners.c has too.
Run it as

    /usr/bin/python3 make_image_goldens.py > images.h
"""
import math

import torch

torch.set_default_dtype(torch.float64)
TASKS, ROWS, CLASSES, FILTERS, LAYERS, RATE = 2, 4, 3, 3, 4, 0.1
CASES = [('conv4', 7, 5, 2, 1), ('conv4_pool', 17, 16, 1, 2), ('conv4', 16, 16, 1, 3), ('conv4_flat', 17, 16, 2, 4)]


def wave(seed, stream, i):
    return math.sin(0.618 * (i + 1) * (i + 1) + 1.3 * stream + 0.77 * seed)


def waves(seed, stream, shape):
    n = math.prod(shape)
    return torch.tensor([wave(seed, stream, i) for i in range(n)]).reshape(shape)


def parameters(seed, channels, features):
    shapes = []
    for layer in range(LAYERS):
        shapes += [(9 * (FILTERS if layer else channels), FILTERS), (1, FILTERS), (2, FILTERS)]
    shapes += [(features, CLASSES), (1, CLASSES)]
    return [(0.6 * waves(seed, 100 + i, s)).requires_grad_(True) for i, s in enumerate(shapes)]


def forward(kind, theta, x, seen=None):
    """x (rows, height, width, channels); seen gets mean and variance of each layer."""
    h = x.permute(0, 3, 1, 2)
    for layer in range(LAYERS):
        weight, bias, _ = theta[3 * layer:3 * layer + 3]
        weight = weight.reshape(3, 3, h.shape[1], FILTERS).permute(3, 2, 0, 1)
        h = torch.nn.functional.conv2d(h, weight, padding=1, stride=1 if kind == 'conv4_pool' else 2)
        mean, variance = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
        if seen is not None:
            seen.append(torch.stack([mean, variance]))
        h = (h - mean[:, None, None]) / torch.sqrt(variance + 1e-3)[:, None, None] + bias.reshape(-1, 1, 1)
        h = torch.tanh(h)
        if kind == 'conv4_pool':
            h = torch.nn.functional.max_pool2d(h, 2)
    h = h.mean((2, 3)) if kind == 'conv4' else h.permute(0, 2, 3, 1).flatten(1)
    return h @ theta[-2] + theta[-1]


def solve(kind, height, width, channels, seed):
    # what four strides of 2 leave of the image; pooling has one pixel left in these cases
    features = FILTERS * -(-height // 16) * -(-width // 16) if kind == 'conv4_flat' else FILTERS
    theta = parameters(seed, channels, features)
    losses, averages = [], [torch.zeros(2, FILTERS) for _ in range(LAYERS)]
    for task in range(TASKS):
        part = []
        for p in range(2):
            x = waves(seed, 10 * (p + 1), (TASKS, ROWS, height, width, channels))[task]
            y = torch.tensor([(task + r) % CLASSES for r in range(ROWS)])
            # the last support row of the second task does not count
            n = ROWS - 1 if (p, task) == (0, 1) else ROWS
            part.append((x[:n], y[:n]))
        seen = []
        loss = torch.nn.functional.cross_entropy(forward(kind, theta, part[0][0], seen), part[0][1])
        moved = [i for i in range(len(theta)) if i % 3 != 2 or i >= 3 * LAYERS]
        gradients = torch.autograd.grad(loss, [theta[i] for i in moved], create_graph=True)
        phi = list(theta)
        for i, g in zip(moved, gradients):
            phi[i] = phi[i] - RATE * g
        losses.append(torch.nn.functional.cross_entropy(forward(kind, phi, part[1][0]), part[1][1]))
        for layer in range(LAYERS):
            averages[layer] += (theta[3 * layer + 2] - seen[layer]).detach()
    gradients = list(torch.autograd.grad(sum(losses), theta, allow_unused=True))
    for layer in range(LAYERS):
        gradients[3 * layer + 2] = averages[layer]
    return [float(l) for l in losses], torch.cat([g.flatten() for g in gradients])


def main():
    print('/* Made by make_image_goldens.py, with PyTorch in double precision. */')
    print('typedef struct GoldenImages\n{\n\tNetworkKind kind;\n\tPlane\t\timage;\n\tint\t\t\tseed;\n\tdouble\t\tlosses[%d];' % TASKS)
    print('\tsize_t\t\tsize;\n\tconst double *gradient;\n} GoldenImages;\n')
    solved = [(case, solve(*case)) for case in CASES]
    for i, (case, (_, gradient)) in enumerate(solved):
        print('static const double golden_images_%d[] = {' % i)
        numbers = ['%.17g' % g for g in gradient.tolist()]
        for at in range(0, len(numbers), 6):
            print('\t' + ', '.join(numbers[at:at + 6]) + ',')
        print('};\n')
    print('static const GoldenImages golden_images[] = {')
    for i, ((kind, height, width, channels, seed), (losses, gradient)) in enumerate(solved):
        print('\t{NETWORK_%s, {%d, %d, %d}, %d, {%s}, %d, golden_images_%d},' % (
            kind.upper(), height, width, channels, seed, ', '.join('%.17g' % l for l in losses), len(gradient), i))
    print('};')


if __name__ == '__main__':
    main()
