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

WIDTH = 2                       # of the LSTM, option context
P = 10.0


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
        phi = dict(theta)
        names = [n for n in theta if base.is_adapted(n)]
        hidden = {n: (torch.zeros(theta[n].numel(), WIDTH), torch.zeros(theta[n].numel(), WIDTH)) for n in names}
        last = {n: torch.zeros(theta[n].numel(), 2) for n in names}
        for _ in range(case['inner_steps'] if len(rows[3]) > 0 else 0):
            loss = base.mean_loss(case, phi, rows)
            gradients = [g.detach() for g in torch.autograd.grad(loss, [phi[n] for n in names], retain_graph=True)]
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


# ---- all ----

def is_own(name):
    return name.startswith('state.')


def tensors(case):
    return lstm_tensors(case)


def parameters(case):
    theta = {}
    for i, (name, (rows, cols)) in enumerate(tensors(case)):
        values = [0.0 if is_own(name) else 0.6 * base.wave(case['seed'], 100 + i, k) for k in range(rows * cols)]
        theta[name] = torch.tensor(values).reshape(rows, cols).requires_grad_(True)
    return theta


def solve(case, theta):
    losses = lstm_losses(case, theta)
    wanted = [n for n in theta if not is_own(n)]
    gradients = dict(zip(wanted, torch.autograd.grad(sum(losses), [theta[n] for n in wanted], allow_unused=True)))
    return [float(l) for l in losses], \
        [torch.zeros_like(v) if gradients.get(n) is None else gradients[n] for n, v in theta.items()]


def cases():
    def case(learner, loss, activation, skip, embeddings, way=False, steps=0, shrink=False):
        return dict(learner=learner, loss=loss, activation=activation, skip=skip, embeddings=embeddings, way=way,
                    inner_steps=steps, shrink=shrink, seed=5)

    for loss in ('squared', 'logistic', 'softmax'):
        yield case('lstm', loss, 'tanh', True, True, steps=3)
        yield case('lstm', loss, 'tanh', False, False, steps=1)
    yield case('lstm', 'squared', 'tanh', False, True, steps=2, shrink=True)


def main():
    print('/*\n * lstm.h\n *\t  Written by make_lstm_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_LSTM_H\n#define UNIT_GOLDENS_LSTM_H\n')
    lines = []
    word = lambda b: 'true' if b else 'false'
    for i, case in enumerate(cases()):
        losses, gradients = solve(case, parameters(case))
        base.array('lstm_losses_%d' % i, losses)
        base.array('lstm_gradient_%d' % i, torch.cat([g.flatten() for g in gradients]).tolist())
        lines.append('{"%s", LOSS_%s, %s, %d, %d, %s, %d, %s, lstm_losses_%d, lstm_gradient_%d, '
                     'sizeof(lstm_gradient_%d) / sizeof(double)}'
                     % (case['learner'], case['loss'].upper(), word(case['skip']), 2 if case['embeddings'] else 0,
                        case['seed'], word(case['way']), case['inner_steps'], word(case['shrink']), i, i, i))
    print('typedef struct GoldenLstm\n{\n\tconst char *learner;\n\tLossKind\tloss;\n\tbool\t\tskip;\n'
          '\tint\t\t\tn_embeddings;\n\tint\t\t\tseed;\n\tbool\t\tepisode;\n\tint\t\t\tinner_steps;\n\tbool\t\tshrink;\n'
          '\tconst double *losses;\t\t/* of each task */\n'
          '\tconst double *gradient;\t\t/* of their sum, all tensors in order */\n\tsize_t\t\tsize;\n} GoldenLstm;\n')
    print('static const GoldenLstm golden_lstm[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_LSTM_H */')


if __name__ == '__main__':
    sys.exit(main())
