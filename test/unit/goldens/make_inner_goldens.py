#!/usr/bin/python3
"""Writes inner.h: partial adaptation and what is learned about inner steps.

The networks, tasks and formulas of make_goldens.py; here each learner is its
paper's update, task by task, with losses as sums over rows.  Run it as

    /usr/bin/python3 make_inner_goldens.py > inner.h
"""
import sys

import torch

import make_goldens as base

CONTEXT = 2


def network_tensors(case):
    return base.tensors(case)


def moved(case):
    """Names of what a task has of its own."""
    if case['learner'] == 'cavia':
        return ['context']
    names = [n for n, _ in network_tensors(case)]
    return [n for n in names if n.startswith('head.') or (n.startswith('layer.') and case['learner'] != 'anil')]


def tensors(case):
    """In the order of the learner's layout."""
    out = network_tensors(case)
    if case['learner'] == 'cavia':
        out = out + [('context.weight', (CONTEXT, base.HIDDEN[0])), ('context', (1, CONTEXT))]
    shapes = dict(out)
    if case['learner'] == 'meta_sgd':
        out = out + [('rate.' + n, shapes[n]) for n in moved(case)]
    if case['step_rates']:
        out = out + [('step_rate.' + n, (1, case['inner_steps'])) for n in moved(case)]
    if case['shrink']:
        out = out + [('shrink', (1, 1))]
    return out


def parameters(case):
    theta = {}
    for i, (name, (rows, cols)) in enumerate(tensors(case)):
        values = [0.6 * base.wave(case['seed'], 100 + i, k) for k in range(rows * cols)]
        theta[name] = torch.tensor(values).reshape(rows, cols).requires_grad_(True)
    return theta


def outputs(case, p, x, c):
    """CAVIA by its definition: the context stands beside each row's inputs."""
    if case['learner'] != 'cavia':
        return base.forward(case, p, x, c)
    inputs = [x]
    if case['embeddings']:
        inputs += [torch.nn.functional.embedding(c[:, j], p['embedding.%d' % j]) for j in range(2)]
    inputs += [p['context'].expand(len(x), CONTEXT)]
    q = dict(p)
    q['layer.0.weight'] = torch.cat([p['layer.0.weight'], p['context.weight']], 0)
    h = torch.cat(inputs, 1)
    for l in range(len(base.HIDDEN)):
        h = h @ q['layer.%d.weight' % l] + q['layer.%d.bias' % l]
        if case['activation'] == 'relu' and h.numel() > 0 and h.abs().min() < base.KINK:
            raise ArithmeticError('too near the kink')
        h = getattr(torch, case['activation'])(h)
    out = h @ q['head.weight'] + q['head.bias']
    if case['skip']:
        out = out + x @ q['skip.weight']
        if case['embeddings']:
            out = out + sum(torch.nn.functional.embedding(c[:, j], q['wide.%d' % j]) for j in range(2))
    return out


def loss(case, p, rows, more=0.0):
    """Sum of the rows' losses over their weight and more rows that have none."""
    x, c, y, w = rows
    if len(w) == 0:
        return sum(0.0 * v.sum() for v in p.values())
    out = outputs(case, p, x, c)
    if case['loss'] == 'squared':
        each = (out[:, 0] - y) ** 2
    elif case['loss'] == 'logistic':
        each = torch.nn.functional.softplus(out[:, 0]) - y * out[:, 0]
    else:
        each = torch.nn.functional.cross_entropy(out, y, reduction='none')
    return (w * each).sum() / (w.sum() + more)


def adapt(case, theta, rows):
    """Parameters after each step."""
    p = dict(theta)
    path = []
    names = moved(case)
    first_order = case['learner'] == 'fomaml'
    for step in range(case['inner_steps']):
        more = 3 * torch.exp(4 * theta['shrink'][0, 0]) if case['shrink'] else 0.0
        if first_order:
            # the plain gradient is a constant; what scales it is not
            gradients = torch.autograd.grad(loss(case, p, rows), [p[n] for n in names])
            k = rows[3].sum()
            gradients = [g * k / (k + more) if len(rows[3]) > 0 else g for g in gradients]
        else:
            gradients = torch.autograd.grad(loss(case, p, rows, more), [p[n] for n in names], create_graph=True)
        for n, g in zip(names, gradients):
            rate = case['inner_lr']
            if case['learner'] == 'meta_sgd':
                rate = rate * (1 + 10 * theta['rate.' + n])
            if case['step_rates']:
                rate = rate * torch.exp(4 * theta['step_rate.' + n][0, step])
            p[n] = p[n] - rate * g
        path.append(dict(p))
    return path


def step_weights(case):
    """MAML++: of each step's loss in the outer one."""
    steps = case['inner_steps']
    if not case['multi_step'] or case['progress'] >= 0.1:
        return [0.0] * (steps - 1) + [1.0]
    other = max(1 / steps - case['progress'] * 10 / steps, 0.03 / steps)
    return [other] * (steps - 1) + [1 - other * (steps - 1)]


def solve(case, theta):
    losses = []
    for task in range(len(base.SUPPORT)):
        path = adapt(case, theta, base.rows_of(case, 0, task))
        query = base.rows_of(case, 1, task)
        losses.append(sum(w * loss(case, p, query) for w, p in zip(step_weights(case), path)))
    gradients = torch.autograd.grad(sum(losses), list(theta.values()), allow_unused=True)
    gradients = [torch.zeros_like(v) if g is None else g for g, v in zip(gradients, theta.values())]
    return [float(l) for l in losses], gradients


def cases():
    def case(learner, loss, activation, skip, embeddings, steps, rate, step_rates=False, shrink=False,
             multi_step=False, progress=0.0):
        return dict(learner=learner, loss=loss, activation=activation, skip=skip, embeddings=embeddings,
                    inner_steps=steps, inner_lr=rate, step_rates=step_rates, shrink=shrink,
                    multi_step=multi_step, progress=progress)

    for learner, rate in (('meta_sgd', 0.02), ('anil', 0.1), ('cavia', 0.5)):
        for loss in ('squared', 'logistic', 'softmax'):
            yield case(learner, loss, 'relu', False, False, 1, rate)
            yield case(learner, loss, 'tanh', True, True, 5, rate)
        yield case(learner, 'squared', 'tanh', True, True, 3, rate / 5, True, True, True, 0.04)
    for loss in ('squared', 'softmax'):
        yield case('maml', loss, 'tanh', True, True, 3, 0.02, True)
        yield case('maml', loss, 'tanh', True, True, 3, 0.1, False, True)
        yield case('fomaml', loss, 'tanh', True, True, 3, 0.02, True, True)
    yield case('maml', 'squared', 'relu', False, False, 5, 0.02, True, True)
    for progress in (0.05, 0.098, 0.1):
        yield case('maml', 'squared', 'tanh', False, False, 4, 0.1, False, False, True, progress)
    yield case('fomaml', 'logistic', 'tanh', False, True, 4, 0.02, True, True, True, 0.02)


def main():
    print('/*\n * inner.h\n *\t  Written by make_inner_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_INNER_H\n#define UNIT_GOLDENS_INNER_H\n')
    lines = []
    for i, case in enumerate(cases()):
        for case['seed'] in range(10000):
            try:
                losses, gradients = solve(case, parameters(case))
                break
            except ArithmeticError:
                continue
        base.array('inner_losses_%d' % i, losses)
        base.array('inner_gradient_%d' % i, torch.cat([g.flatten() for g in gradients]).tolist())
        word = lambda b: 'true' if b else 'false'
        lines.append('{"%s", LOSS_%s, UNARY_%s, %s, %d, %d, %r, %d, %s, %s, %s, %r, inner_losses_%d, inner_gradient_%d, '
                     'sizeof(inner_gradient_%d) / sizeof(double)}'
                     % (case['learner'], case['loss'].upper(), case['activation'].upper(), word(case['skip']),
                        2 if case['embeddings'] else 0, case['inner_steps'], case['inner_lr'], case['seed'],
                        word(case['step_rates']), word(case['shrink']), word(case['multi_step']), case['progress'],
                        i, i, i))
    print('typedef struct GoldenInner\n{\n\tconst char *learner;\n\tLossKind\tloss;\n\tUnaryKind\tactivation;\n'
          '\tbool\t\tskip;\n\tint\t\t\tn_embeddings;\n\tint\t\t\tinner_steps;\n\tdouble\t\tinner_lr;\n\tint\t\t\tseed;\n'
          '\tbool\t\tstep_rates;\n\tbool\t\tshrink;\n\tbool\t\tmulti_step;\n\tdouble\t\tprogress;\n'
          '\tconst double *losses;\t\t/* of each task */\n'
          '\tconst double *gradient;\t\t/* of their sum, all tensors in order */\n\tsize_t\t\tsize;\n} GoldenInner;\n')
    print('static const GoldenInner golden_inner[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_INNER_H */')


if __name__ == '__main__':
    sys.exit(main())
