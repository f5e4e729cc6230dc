#!/usr/bin/python3
"""Writes lstm.h: the LSTM meta-learner, and the network with a memory.

The networks, tasks and formulas of make_goldens.py; here the LSTMs are
PyTorch's own, and run over one coordinate, one row after the other.  Run it as

    /usr/bin/python3 make_lstm_goldens.py > lstm.h
"""
import math
import sys

import torch

import make_goldens as base
import make_metric_goldens as metric

WIDTH = 2                       # of the LSTM, option context
P = 10.0
LONGEST = 10.0                  # gradient of a task
FAR = 40.0                      # times as far outside is a task's first row, in one case

HEADS = 4
FEATURES = 2
SLOTS = 8
USAGE_KEPT = 0.95
SHORT = 1e-6


# ---- lstm ----

def lstm_tensors(case):
    out = base.tensors(case) + [
        ('lstm.input.weight', (2, 4 * WIDTH)), ('lstm.hidden.weight', (WIDTH, 4 * WIDTH)), ('lstm.bias', (1, 4 * WIDTH)),
        ('lstm.loss.weight', (2, 4 * WIDTH)), ('step.hidden.weight', (WIDTH, 2)), ('step.value.weight', (1, 2)),
        ('step.last.weight', (1, 2)), ('step.bias', (1, 2))]
    return out + ([('shrink', (1, 1))] if case['shrink'] else [])


def prep(x):
    """As the paper has it, number by number."""
    if abs(x) >= math.exp(-P):
        return [math.log(abs(x)) / P, math.copysign(1.0, x)]
    return [-1.0, math.exp(P) * x]


def lstm_losses(case, theta):
    zeros = torch.zeros(4 * WIDTH)
    losses = []
    for task in range(len(base.SUPPORT)):
        rows = base.rows_of(case, 0, task)
        if case['far']:
            rows[0][:1] *= FAR
        phi = dict(theta)
        names = [n for n in theta if base.is_adapted(n)]
        hidden = {n: (torch.zeros(theta[n].numel(), WIDTH), torch.zeros(theta[n].numel(), WIDTH)) for n in names}
        last = {n: torch.zeros(theta[n].numel(), 2) for n in names}
        for _ in range(case['inner_steps'] if len(rows[3]) > 0 else 0):
            loss = base.mean_loss(case, phi, rows)
            gradients = [g.detach() for g in torch.autograd.grad(loss, [phi[n] for n in names], retain_graph=True)]
            length = math.sqrt(sum(float((g ** 2).sum()) for g in gradients))
            gradients = [g * min(1.0, LONGEST / length) for g in gradients]
            if case['shrink']:
                k = rows[3].sum()
                gradients = [g * k / (k + 3 * torch.exp(4 * theta['shrink'][0, 0])) for g in gradients]
            for n, g in zip(names, gradients):
                g = g.flatten()
                seen = torch.tensor([prep(float(v)) + prep(float(loss)) for v in g])
                weight = torch.cat([theta['lstm.input.weight'], theta['lstm.loss.weight']], 0)
                hidden[n] = torch.lstm_cell(seen, hidden[n], weight.t(), theta['lstm.hidden.weight'].t(),
                                            theta['lstm.bias'][0], zeros)
                c = phi[n].flatten()
                last[n] = torch.stack([
                    torch.cat([hidden[n][0], c[:, None], last[n][:, j:j + 1]], 1)
                    @ torch.cat([theta['step.hidden.weight'][:, j], theta['step.value.weight'][:, j],
                                 theta['step.last.weight'][:, j]]) + theta['step.bias'][0, j] for j in range(2)], 1)
                c = torch.sigmoid(last[n][:, 0]) * c - torch.sigmoid(last[n][:, 1]) * g
                phi[n] = c.reshape(phi[n].shape)
        losses.append(base.mean_loss(case, phi, base.rows_of(case, 1, task)))
    return losses


# ---- mann ----

def mann_tensors(case):
    width = base.INPUTS + sum(w for _, w in base.EMBEDDINGS if case['embeddings'])
    seen = base.HIDDEN[-1] + (width if case['skip'] else 0)
    outputs = base.CLASSES if case['loss'] == 'softmax' else 1
    values = max(metric.classes(case), 1)
    read = HEADS * FEATURES
    return base.tensors(case) + [
        ('space.weight', (seen, FEATURES)), ('space.bias', (1, FEATURES)),
        ('controller.input.weight', (FEATURES, 4 * WIDTH)), ('controller.hidden.weight', (WIDTH, 4 * WIDTH)),
        ('controller.bias', (1, 4 * WIDTH)), ('controller.last.weight', (values, 4 * WIDTH)),
        ('controller.read.weight', (read, 4 * WIDTH)), ('key.weight', (WIDTH, read)), ('key.row.weight', (FEATURES, read)), ('key.bias', (1, read)), ('key.answer.weight', (values, read)),
        ('gate.weight', (WIDTH, HEADS)), ('gate.bias', (1, HEADS)), ('sharpness.bias', (1, 1)),
        ('output.hidden.weight', (WIDTH, outputs)), ('output.read.weight', (read, outputs)),
        ('state.controller', (1, 2 * WIDTH)), ('state.memory', (SLOTS, FEATURES)), ('state.usage', (1, SLOTS)),
        ('state.weights', (HEADS, SLOTS)), ('state.read', (1, read)), ('state.last', (1, values))]


class Mann:
    """The memory of one task, read and written head by head."""

    def __init__(self, p, values):
        self.p = p
        self.state = (torch.zeros(1, WIDTH), torch.zeros(1, WIDTH))
        self.memory = torch.zeros(SLOTS, FEATURES)
        self.usage = torch.zeros(SLOTS)
        self.weights = [torch.zeros(SLOTS) for _ in range(HEADS)]
        self.read = torch.zeros(1, HEADS * FEATURES)
        self.last = torch.zeros(1, values)

    def see(self, x):
        """One step for a row; nothing is written."""
        p = self.p
        weight = torch.cat([p['controller.input.weight'], p['controller.last.weight'], p['controller.read.weight']], 0)
        state = torch.lstm_cell(torch.cat([x, self.last, self.read], 1), self.state, weight.t(),
                                p['controller.hidden.weight'].t(), p['controller.bias'][0], torch.zeros(4 * WIDTH))
        keys = torch.tanh(state[0] @ p['key.weight'] + x @ p['key.row.weight'] + p['key.bias'])[0].chunk(HEADS)
        length = lambda v: torch.sqrt((v ** 2).sum(-1) + SHORT)
        tau = torch.exp(4 * p['sharpness.bias'][0, 0])
        weights = [torch.softmax(tau * (self.memory @ k) / length(self.memory) / length(k), 0) for k in keys]
        read = torch.cat([w @ self.memory for w in weights])[None, :]
        return state, keys, weights, read, state[0] @ p['output.hidden.weight'] + read @ p['output.read.weight']

    def step(self, x, value):
        state, keys, weights, read, out = self.see(x)
        gates = torch.sigmoid(state[0] @ self.p['gate.weight'] + self.p['gate.bias'])[0]
        least = torch.zeros(SLOTS)
        least[min(range(SLOTS), key=lambda i: float(self.usage[i]))] = 1.0
        written = [g * w + (1 - g) * least for g, w in zip(gates, self.weights)]
        answers = (value @ self.p['key.answer.weight'])[0].chunk(HEADS)
        self.memory = (1 - least)[:, None] * self.memory \
            + sum(torch.outer(w, k + a) for w, k, a in zip(written, keys, answers))
        self.usage = USAGE_KEPT * self.usage + sum(weights) + sum(written)
        self.state, self.weights, self.read, self.last = state, weights, read, value
        return out


def mann_losses(case, theta):
    k = metric.classes(case)
    losses = []
    for task in range(len(base.SUPPORT)):
        memory = Mann(theta, max(k, 1))
        said, answers, weights = [], [], []
        for part in range(2):
            x, c, y, w = base.rows_of(case, part, task)
            for r in range(len(w)):
                row = slice(r, r + 1)
                at = metric.place(case, theta, x[row], c[row])
                known = base.forward(case, theta, x[row], c[row])
                if part == 0:
                    if k == 0:
                        value = (y[r] - known[0, 0]).reshape(1, 1)
                    else:
                        expected = torch.softmax(metric.prior(case, theta, x[row], c[row]), 1)
                        value = torch.nn.functional.one_hot(y[row].long(), k) - expected
                    out = memory.step(at, value)
                else:
                    out = memory.see(at)[-1]
                said.append(out if case['way'] else out + known)
                answers.append(y[r])
                weights.append(w[r])
        out, y, w = torch.cat(said, 0), torch.stack(answers), torch.stack(weights)
        if case['loss'] == 'squared':
            each = (out[:, 0] - y) ** 2
        elif case['loss'] == 'logistic':
            each = torch.nn.functional.binary_cross_entropy_with_logits(out[:, 0], y, reduction='none')
        else:
            each = torch.nn.functional.cross_entropy(out, y.long(), reduction='none')
        losses.append((w * each).sum() / w.sum())
    return losses


# ---- all ----

def is_own(name):
    return name.startswith('state.')


def tensors(case):
    return lstm_tensors(case) if case['learner'] == 'lstm' else mann_tensors(case)


def parameters(case):
    theta = {}
    for i, (name, (rows, cols)) in enumerate(tensors(case)):
        values = [0.0 if is_own(name) else 0.6 * base.wave(case['seed'], 100 + i, k) for k in range(rows * cols)]
        theta[name] = torch.tensor(values).reshape(rows, cols).requires_grad_(True)
    return theta


def solve(case, theta):
    losses = (lstm_losses if case['learner'] == 'lstm' else mann_losses)(case, theta)
    wanted = [n for n in theta if not is_own(n)]
    gradients = dict(zip(wanted, torch.autograd.grad(sum(losses), [theta[n] for n in wanted], allow_unused=True)))
    return [float(l) for l in losses], \
        [torch.zeros_like(v) if gradients.get(n) is None else gradients[n] for n, v in theta.items()]


def cases():
    def case(learner, loss, activation, skip, embeddings, way=False, steps=0, shrink=False, far=False):
        return dict(learner=learner, loss=loss, activation=activation, skip=skip, embeddings=embeddings, way=way,
                    inner_steps=steps, shrink=shrink, far=far, seed=5)

    for loss in ('squared', 'logistic', 'softmax'):
        yield case('lstm', loss, 'tanh', True, True, steps=3)
        yield case('lstm', loss, 'tanh', False, False, steps=1)
    yield case('lstm', 'squared', 'tanh', False, True, steps=2, shrink=True)
    yield case('lstm', 'squared', 'tanh', True, True, steps=3, shrink=True, far=True)
    for loss in ('squared', 'logistic', 'softmax'):
        yield case('mann', loss, 'tanh', True, True)
    yield case('mann', 'squared', 'tanh', False, False)
    yield case('mann', 'softmax', 'tanh', False, True, way=True)


def main():
    print('/*\n * lstm.h\n *\t  Written by make_lstm_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_LSTM_H\n#define UNIT_GOLDENS_LSTM_H\n')
    lines = []
    word = lambda b: 'true' if b else 'false'
    for i, case in enumerate(cases()):
        losses, gradients = solve(case, parameters(case))
        base.array('lstm_losses_%d' % i, losses)
        base.array('lstm_gradient_%d' % i, torch.cat([g.flatten() for g in gradients]).tolist())
        lines.append('{"%s", LOSS_%s, %s, %d, %d, %s, %d, %s, %s, lstm_losses_%d, lstm_gradient_%d, '
                     'sizeof(lstm_gradient_%d) / sizeof(double)}'
                     % (case['learner'], case['loss'].upper(), word(case['skip']), 2 if case['embeddings'] else 0,
                        case['seed'], word(case['way']), case['inner_steps'], word(case['shrink']), word(case['far']), i, i, i))
    print('typedef struct GoldenLstm\n{\n\tconst char *learner;\n\tLossKind\tloss;\n\tbool\t\tskip;\n'
          '\tint\t\t\tn_embeddings;\n\tint\t\t\tseed;\n\tbool\t\tepisode;\n\tint\t\t\tinner_steps;\n\tbool\t\tshrink;\n'
          '\tbool\t\tfar;\t\t\t/* the first row of each task is */\n'
          '\tconst double *losses;\t\t/* of each task */\n'
          '\tconst double *gradient;\t\t/* of their sum, all tensors in order */\n\tsize_t\t\tsize;\n} GoldenLstm;\n')
    print('static const GoldenLstm golden_lstm[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_LSTM_H */')


if __name__ == '__main__':
    sys.exit(main())
