#!/usr/bin/python3
"""Writes closed.h: learners whose adaptation is a formula, cnp and ridge.

The networks, tasks and formulas of make_goldens.py; here a task's rows are
summed by hand, least squares are solved by stacking the penalty under the
rows, and a logit's Newton steps take gradient and Hessian of the penalised
likelihood from PyTorch.  Run it as

    /usr/bin/python3 make_closed_goldens.py > closed.h
"""
import math
import sys

import torch

import make_goldens as base

FEATURES = 2
CONTEXT = 2
NEWTON_STEPS = 5


def outputs(case):
    return base.CLASSES if case['loss'] == 'softmax' else 1


def in_width(case):
    return base.INPUTS + sum(w for _, w in base.EMBEDDINGS if case['embeddings'])


def tensors(case):
    """In the order of the learner's layout."""
    k, h, r = outputs(case), CONTEXT, FEATURES + 1
    if case['learner'] == 'ridge':
        return base.tensors(case) + [
            ('feature.weight', (base.HIDDEN[-1], FEATURES)), ('feature.bias', (1, FEATURES)), ('intercept.bias', (1, 1)),
            ('penalty.bias', (1, 1)), ('output.bias', (1, 1)), ('state.precision', (r, r)), ('state.pull', (r, k))]
    more = k + (case['loss'] == 'squared')
    return base.tensors(case) + [
        ('spread.bias', (1, 1)), ('noise.bias', (1, 1)), ('count.bias', (1, 1)),
        ('encoder.0.weight', (in_width(case) + 2 * k, h)), ('encoder.0.bias', (1, h)),
        ('encoder.1.weight', (h, h)), ('encoder.1.bias', (1, h)), ('encoder.2.weight', (h, h)), ('encoder.2.bias', (1, h)),
        ('decoder.row.weight', (in_width(case) + k, h)), ('decoder.task.weight', (h + 1 + k, h)), ('decoder.0.bias', (1, h)),
        ('decoder.1.weight', (h, h)), ('decoder.1.bias', (1, h)),
        ('decoder.2.weight', (h, more)), ('decoder.2.bias', (1, more)),
        ('state.rows', (1, 1)), ('state.summary', (1, h)), ('state.pull', (1, k)), ('state.information', (1, k))]


def parameters(case):
    theta = {}
    for i, (name, (rows, cols)) in enumerate(tensors(case)):
        values = [0.0 if name.startswith('state.') else 0.6 * base.wave(case['seed'], 100 + i, k) for k in range(rows * cols)]
        theta[name] = torch.tensor(values).reshape(rows, cols).requires_grad_(True)
    return theta


def scale(p, name):
    return torch.exp(4 * p[name][0, 0])


def inputs(case, p, x, c):
    if not case['embeddings']:
        return x
    return torch.cat([x] + [torch.nn.functional.embedding(c[:, j], p['embedding.%d' % j]) for j in range(2)], 1)


def hidden(case, p, x, c):
    h = inputs(case, p, x, c)
    for l in range(len(base.HIDDEN)):
        h = getattr(torch, case['activation'])(h @ p['layer.%d.weight' % l] + p['layer.%d.bias' % l])
    return h


def targets(case, y):
    if case['loss'] == 'softmax':
        return torch.nn.functional.one_hot(y, base.CLASSES).double()
    return y[:, None]


def expected(case, f):
    return {'squared': lambda v: v, 'logistic': torch.sigmoid, 'softmax': lambda v: torch.softmax(v, 1)}[case['loss']](f)


def each_loss(case, out, y):
    if case['loss'] == 'squared':
        return (out[:, 0] - y) ** 2
    if case['loss'] == 'logistic':
        return torch.nn.functional.binary_cross_entropy_with_logits(out[:, 0], y, reduction='none')
    return torch.nn.functional.cross_entropy(out, y, reduction='none')


def cnp(case, p, support, x, c):
    """Outputs and variances, None for classes."""
    act = getattr(torch, case['activation'])
    sx, sc, sy, sw = support
    tau2 = scale(p, 'spread.bias')
    sigma2 = scale(p, 'noise.bias') + 1e-4 if case['loss'] == 'squared' else 1.0
    k = sw.sum()
    total = torch.zeros(CONTEXT)
    pull = torch.zeros(outputs(case))
    information = torch.zeros(outputs(case))
    for r in range(len(sw)):
        row = slice(r, r + 1)
        mean = expected(case, base.forward(case, p, sx[row], sc[row]))
        y = targets(case, sy[row])
        e = torch.cat([inputs(case, p, sx[row], sc[row]), y, y - mean], 1)
        e = act(e @ p['encoder.0.weight'] + p['encoder.0.bias'])
        e = act(e @ p['encoder.1.weight'] + p['encoder.1.bias'])
        total = total + sw[r] * (e @ p['encoder.2.weight'] + p['encoder.2.bias'])[0]
        pull = pull + sw[r] * (y - mean)[0]
        information = information + sw[r] * (1.0 if case['loss'] == 'squared' else (mean * (1 - mean))[0])
    posterior = 1 / (1 / tau2 + information / sigma2)
    shift = posterior * pull / sigma2
    z = torch.cat([total / (k + scale(p, 'count.bias')), torch.log1p(k).reshape(1), shift])
    f = base.forward(case, p, x, c)
    rows = torch.cat([inputs(case, p, x, c), f, z.expand(len(x), len(z))], 1)
    d = act(rows @ torch.cat([p['decoder.row.weight'], p['decoder.task.weight']], 0) + p['decoder.0.bias'])
    d = act(d @ p['decoder.1.weight'] + p['decoder.1.bias'])
    d = d @ p['decoder.2.weight'] + p['decoder.2.bias']
    out = f + shift + d[:, :outputs(case)]
    if case['loss'] != 'squared':
        return out / torch.sqrt(1 + math.pi / 8 * posterior), None
    return out, (sigma2 + posterior) * torch.exp(4 * torch.tanh(d[:, 1] / 4)) + 1e-4


def newton(psi, mean, y, w, penalty):
    """The last of a few damped steps to the mode; differentiable."""
    def energy(v):
        logits = mean + psi @ v
        return (w * torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction='none')).sum() \
            + penalty / 2 * (v ** 2).sum()
    v = torch.zeros(psi.shape[1])
    for _ in range(NEWTON_STEPS):
        g = torch.autograd.functional.jacobian(energy, v, create_graph=True)
        h = torch.autograd.functional.hessian(energy, v, create_graph=True)
        v = v - 2 * torch.tanh(torch.linalg.solve(h, g) / 2)
    return v


def ridge(case, p, support, x, c):
    def features(x, c):
        one = torch.exp(4 * p['intercept.bias']).expand(len(x), 1)
        return torch.cat([one, hidden(case, p, x, c) @ p['feature.weight'] + p['feature.bias']], 1)
    sx, sc, sy, sw = support
    f, prior = base.forward(case, p, x, c), base.forward(case, p, sx, sc)
    psi, penalty, s = features(sx, sc), scale(p, 'penalty.bias'), scale(p, 'output.bias')
    if case['loss'] == 'logistic':
        v = newton(psi, prior[:, 0], sy, sw, penalty)
        return s * (f + (features(x, c) @ v)[:, None]), None
    # |sqrt(w) (y - psi v)|^2 + penalty |v|^2 as one least squares problem, by QR
    root = torch.sqrt(sw)[:, None]
    q, r = torch.linalg.qr(torch.cat([root * psi, torch.sqrt(penalty) * torch.eye(FEATURES + 1)], 0))
    right = torch.cat([root * (targets(case, sy) - expected(case, prior)), torch.zeros(FEATURES + 1, outputs(case))], 0)
    return f + s * features(x, c) @ torch.linalg.solve(r, q.t() @ right), None


def solve(case, theta):
    weight = sum(base.rows_of(case, 1, task)[3].sum() for task in range(len(base.SUPPORT)))
    losses, outs, variances = [], [], []
    for task in range(len(base.SUPPORT)):
        x, c, y, w = base.rows_of(case, 1, task)
        out, variance = (cnp if case['learner'] == 'cnp' else ridge)(case, theta, base.rows_of(case, 0, task), x, c)
        each = each_loss(case, out, y)
        if variance is not None:
            each = (torch.log(variance) + each / variance) / 2
            variances += variance.tolist()
        losses.append((w * each).sum() / weight * len(base.SUPPORT))
        outs += out.flatten().tolist()
    wanted = [n for n in theta if not n.startswith('state.')]
    gradients = dict(zip(wanted, torch.autograd.grad(sum(losses), [theta[n] for n in wanted], allow_unused=True)))
    flat = torch.cat([(torch.zeros_like(v) if gradients.get(n) is None else gradients[n]).flatten() for n, v in theta.items()])
    return [float(l) for l in losses], flat.tolist(), outs, variances


def cases():
    for learner in ('cnp', 'ridge'):
        for loss in ('squared', 'logistic', 'softmax'):
            for more in (True, False):
                yield dict(learner=learner, loss=loss, activation='tanh' if more else 'sigmoid', skip=more,
                           embeddings=more, seed=5)


def main():
    print('/*\n * closed.h\n *\t  Written by make_closed_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_CLOSED_H\n#define UNIT_GOLDENS_CLOSED_H\n')
    lines = []
    for i, case in enumerate(cases()):
        names = []
        for name, values in zip(('losses', 'gradient', 'outputs', 'variances'), solve(case, parameters(case))):
            if values:
                base.array('closed_%s_%d' % (name, i), values)
            names.append('closed_%s_%d' % (name, i) if values else 'NULL')
        lines.append('{"%s", LOSS_%s, UNARY_%s, %s, %d, %d, %s, sizeof(closed_gradient_%d) / sizeof(double)}' % (
            case['learner'], case['loss'].upper(), case['activation'].upper(), 'true' if case['skip'] else 'false',
            2 if case['embeddings'] else 0, case['seed'], ', '.join(names), i))
    print('typedef struct GoldenClosed\n{\n\tconst char *learner;\n\tLossKind\tloss;\n\tUnaryKind\tactivation;\n\tbool\t\tskip;\n'
          '\tint\t\t\tn_embeddings;\n\tint\t\t\tseed;\n'
          '\tconst double *losses;\t\t/* of each task, as the outer loop adds them up */\n'
          '\tconst double *gradient;\t\t/* of their sum, all tensors in order */\n'
          '\tconst double *outputs;\t\t/* of the query rows, one task after the other */\n'
          '\tconst double *variances;\t/* of the same, or NULL */\n\tsize_t\t\tsize;\t\t\t/* of the gradient */\n} GoldenClosed;\n')
    print('static const GoldenClosed golden_closed[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_CLOSED_H */')


if __name__ == '__main__':
    sys.exit(main())
