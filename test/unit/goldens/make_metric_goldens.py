#!/usr/bin/python3
"""Writes metric.h: the learners that compare rows.

The networks, tasks and formulas of make_goldens.py; here classes are told
apart by distances as they are written in the papers, and attention runs over a
list of support rows, task by task, with PyTorch's LSTM.  Run it as

    /usr/bin/python3 make_metric_goldens.py > metric.h
"""
import sys

import torch

import make_goldens as base

FEATURES = 2
MEMORY = 8                      # rows that a task's memory has room for
READ_STEPS = 3
LEAST_EXPECTED = 0.1
SHORT = 1e-6


def classes(case):
    return {'squared': 0, 'logistic': 2, 'softmax': base.CLASSES}[case['loss']]


def lstm(name):
    return [(name + '.input.weight', (FEATURES, 4 * FEATURES)), (name + '.hidden.weight', (FEATURES, 4 * FEATURES)),
            (name + '.bias', (1, 4 * FEATURES))]


def tensors(case):
    """In the order of the learner's layout."""
    width = base.INPUTS + sum(w for _, w in base.EMBEDDINGS if case['embeddings'])
    seen = base.HIDDEN[-1] + (width if case['skip'] else 0)
    k = classes(case)
    out = base.tensors(case) + [('space.weight', (seen, FEATURES)), ('space.bias', (1, FEATURES))]
    if case['learner'] == 'prototypical':
        return out + [('count.bias', (1, 1)), ('expected.bias', (1, 1)),
                      ('prototype.prior', (1 if case['way'] else k, FEATURES)), ('prototype.sums', (k, FEATURES)),
                      ('prototype.rows', (k, 1)), ('prototype.expected', (k, 1))]
    out += [('sharpness.bias', (1, 1)), ('slot.bias', (1, 1)), ('memory', (MEMORY, 1 + max(k, 1) + FEATURES))]
    if case['full_context']:
        out += lstm('forward') + lstm('backward') + lstm('read') + [('read.memory.weight', (FEATURES, 4 * FEATURES))]
    return out


def is_own(name):
    return name in ('prototype.sums', 'prototype.rows', 'prototype.expected', 'memory')


def parameters(case):
    theta = {}
    for i, (name, (rows, cols)) in enumerate(tensors(case)):
        values = [0.0 if is_own(name) else 0.6 * base.wave(case['seed'], 100 + i, k) for k in range(rows * cols)]
        theta[name] = torch.tensor(values).reshape(rows, cols).requires_grad_(True)
    return theta


def place(case, p, x, c):
    """Where rows lie, (rows, FEATURES)"""
    inputs = [x]
    if case['embeddings']:
        inputs += [torch.nn.functional.embedding(c[:, j], p['embedding.%d' % j]) for j in range(2)]
    inputs = h = torch.cat(inputs, 1)
    for l in range(len(base.HIDDEN)):
        h = torch.tanh(h @ p['layer.%d.weight' % l] + p['layer.%d.bias' % l])
    if case['skip']:
        h = torch.cat([h, inputs], 1)
    return h @ p['space.weight'] + p['space.bias']


def prior(case, p, x, c):
    """Logits of the classes as the network sees them, or the number."""
    out = base.forward(case, p, x, c)
    if case['loss'] == 'logistic':
        out = torch.cat([torch.zeros_like(out), out], 1)
    return torch.zeros_like(out) if case['way'] else out


def prototypical(case, p, support, x, c):
    sx, sc, sy, sw = support
    at = place(case, p, sx, sc)
    expected = torch.softmax(prior(case, p, sx, sc), 1)
    query = place(case, p, x, c)
    out = []
    for k in range(classes(case)):
        mine = sw * (sy == k)
        first = p['prototype.prior'][0 if case['way'] else k]
        count = torch.exp(4 * p['count.bias'][0, 0])
        mean = (count * first + (mine[:, None] * at).sum(0)) / (count + mine.sum())
        score = ((query - first) ** 2).sum(1) - ((query - mean) ** 2).sum(1)
        if not case['way']:
            a = torch.exp(4 * p['expected.bias'][0, 0])
            score = score + torch.log((mine.sum() + a) / ((sw * expected[:, k]).sum() + a))
        out.append(score)
    return prior(case, p, x, c) + torch.stack(out, 1)


def read_cell(p, x, hidden, state):
    """The LSTM that reads; its hidden state is [h, r]."""
    weight = torch.cat([p['read.hidden.weight'], p['read.memory.weight']], 0)
    i, f, g, o = (x @ p['read.input.weight'] + hidden @ weight + p['read.bias']).chunk(4, 1)
    state = torch.sigmoid(f) * state + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(state), state


def whole_lstm(p, name, rows):
    """PyTorch's LSTM over a sequence, with our weights."""
    state = (torch.zeros(1, FEATURES), torch.zeros(1, FEATURES))
    out = []
    for row in rows:
        state = torch.lstm_cell(row[None, :], state, p[name + '.input.weight'].t(), p[name + '.hidden.weight'].t(),
                                p[name + '.bias'][0], torch.zeros(4 * FEATURES))
        out.append(state[0])
    return torch.cat(out, 0)


def context(case, p, rows, weight, query):
    """g of the support, f of the query"""
    if len(rows) > 0:
        backward = whole_lstm(p, 'backward', rows.flip(0)).flip(0)
        rows = rows + whole_lstm(p, 'forward', rows) + backward
    hidden = torch.zeros(len(query), 2 * FEATURES)
    state = torch.zeros(len(query), FEATURES)
    for _ in range(READ_STEPS):
        h, state = read_cell(p, query, hidden, state)
        h = h + query
        # one more slot, which reads nothing
        e = torch.cat([weight * torch.exp(h @ rows.t() / FEATURES ** 0.5), torch.ones(len(h), 1)], 1)
        read = (e / e.sum(1, keepdim=True))[:, :-1] @ rows
        hidden = torch.cat([h, read], 1)
    return rows, h


def matching(case, p, support, x, c):
    sx, sc, sy, sw = support
    rows = place(case, p, sx, sc)
    query = place(case, p, x, c)
    known = prior(case, p, sx, sc)
    if case['full_context']:
        rows, query = context(case, p, rows, sw, query)
    length = lambda v: torch.sqrt((v ** 2).sum(-1) + SHORT)
    cosine = (query @ rows.t()) / length(query)[:, None] / length(rows)[None, :]
    e = torch.cat([sw * torch.exp(torch.exp(4 * p['sharpness.bias'][0, 0]) * cosine),
                   torch.exp(p['slot.bias'][0, 0]).expand(len(query), 1)], 1)
    share = e / e.sum(1, keepdim=True)
    if case['loss'] == 'squared':
        return prior(case, p, x, c) + share[:, :-1] @ (sy[:, None] - known)
    k = classes(case)
    expected = torch.softmax(known, 1)
    if not case['way']:
        expected = (1 - LEAST_EXPECTED) * expected + LEAST_EXPECTED / k
    times = torch.nn.functional.one_hot(sy.long(), k) / expected
    return prior(case, p, x, c) + torch.log(share[:, -1:] + share[:, :-1] @ times + 1e-12)


def solve(case, theta):
    losses = []
    for task in range(len(base.SUPPORT)):
        x, c, y, w = base.rows_of(case, 1, task)
        run = prototypical if case['learner'] == 'prototypical' else matching
        out = run(case, theta, base.rows_of(case, 0, task), x, c)
        if case['loss'] == 'squared':
            each = (out[:, 0] - y) ** 2
        else:
            each = torch.nn.functional.cross_entropy(out, y.long(), reduction='none')
        losses.append((w * each).sum() / w.sum())
    wanted = [n for n in theta if not is_own(n)]
    gradients = dict(zip(wanted, torch.autograd.grad(sum(losses), [theta[n] for n in wanted], allow_unused=True)))
    return [float(l) for l in losses], \
        [torch.zeros_like(v) if gradients.get(n) is None else gradients[n] for n, v in theta.items()]


def cases():
    def case(learner, loss, skip, embeddings, way=False, full_context=False):
        return dict(learner=learner, loss=loss, activation='tanh', skip=skip, embeddings=embeddings, way=way,
                    full_context=full_context, seed=5)

    for loss in ('logistic', 'softmax'):
        yield case('prototypical', loss, True, True)
        yield case('prototypical', loss, False, False)
    yield case('prototypical', 'softmax', False, True, True)
    for full in (False, True):
        for loss in ('squared', 'logistic', 'softmax'):
            yield case('matching', loss, True, True, False, full)
        yield case('matching', 'squared', False, False, False, full)
        yield case('matching', 'softmax', False, True, True, full)


def main():
    print('/*\n * metric.h\n *\t  Written by make_metric_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_METRIC_H\n#define UNIT_GOLDENS_METRIC_H\n')
    lines = []
    word = lambda b: 'true' if b else 'false'
    for i, case in enumerate(cases()):
        losses, gradients = solve(case, parameters(case))
        base.array('metric_losses_%d' % i, losses)
        base.array('metric_gradient_%d' % i, torch.cat([g.flatten() for g in gradients]).tolist())
        lines.append('{"%s", LOSS_%s, %s, %d, %d, %s, %s, metric_losses_%d, metric_gradient_%d, '
                     'sizeof(metric_gradient_%d) / sizeof(double)}'
                     % (case['learner'], case['loss'].upper(), word(case['skip']), 2 if case['embeddings'] else 0,
                        case['seed'], word(case['way']), word(case['full_context']), i, i, i))
    print('typedef struct GoldenMetric\n{\n\tconst char *learner;\n\tLossKind\tloss;\n\tbool\t\tskip;\n'
          '\tint\t\t\tn_embeddings;\n\tint\t\t\tseed;\n\tbool\t\tepisode;\n\tbool\t\tfull_context;\n'
          '\tconst double *losses;\t\t/* of each task */\n'
          '\tconst double *gradient;\t\t/* of their sum, all tensors in order */\n\tsize_t\t\tsize;\n} GoldenMetric;\n')
    print('static const GoldenMetric golden_metric[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_METRIC_H */')


if __name__ == '__main__':
    sys.exit(main())
