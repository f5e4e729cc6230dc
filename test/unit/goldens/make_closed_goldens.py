#!/usr/bin/python3
"""Writes closed.h: learners whose adaptation is a formula, cnp, ridge and vaml.

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
LATENT = 2
SAMPLES = 5                     # of predictions
TRAINING_SAMPLES = 4
KL_WEIGHT = 0.7
ROW_WEIGHT = 0.3
PROGRESS = 0.1                  # of which a quarter is the warm-up


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
    if case['learner'] == 'vaml':
        d, n = k + LATENT, in_width(case)
        said = sum(len(c['said']) for c in columns(case))
        return base.tensors(case) + [
            ('spread.bias', (1, 1)), ('noise.bias', (1, 1)), ('count.bias', (1, 1)),
            ('encoder.0.weight', (n + 2 * k, h)), ('encoder.0.bias', (1, h)), ('encoder.1.weight', (h, h)), ('encoder.1.bias', (1, h)),
            ('encoder.row.weight', (n, h)), ('encoder.residual.weight', (k, h)),
            ('reader.0.weight', (h + 1 + k, h)), ('reader.0.bias', (1, h)), ('reader.1.weight', (h, 2 * d)), ('reader.1.bias', (1, 2 * d)),
            ('film.0.weight', (d, h)), ('film.0.bias', (1, h)), ('film.1.weight', (h, 2 * FEATURES)), ('film.1.bias', (1, 2 * FEATURES)),
            ('feature.weight', (n + base.HIDDEN[-1], FEATURES)), ('feature.bias', (1, FEATURES)),
            ('output.weight', (FEATURES, more)), ('output.bias', (1, more)),
            ('state.rows', (1, 1)), ('state.summary', (1, h)), ('state.pull', (1, k)), ('state.information', (1, k)),
            ('state.inputs', (1, n)), ('columns.input.weight', (n, 2 * h)), ('columns.input.latent', (d, 2 * h)),
            ('columns.input.known', (n + 1, 2 * h)), ('columns.input.bias', (1, 2 * h)),
            ('columns.hidden.weight', (2 * h, said)), ('columns.direct.weight', (n, said)), ('columns.direct.latent', (d, said)),
            ('columns.direct.known', (n + 1, said)), ('columns.said.bias', (1, said)), ('columns.count.bias', (1, 1))] + [
            ('columns.label.%d.bias' % j, (size, 1)) for j, (size, _) in enumerate(base.EMBEDDINGS) if case['embeddings']] + [
            ('prior.mean', (1, d)), ('prior.root', (d, d)), ('prior.set', (1, 1))]
    return base.tensors(case) + [
        ('spread.bias', (1, 1)), ('noise.bias', (1, 1)), ('count.bias', (1, 1)),
        ('encoder.0.weight', (in_width(case) + 2 * k, h)), ('encoder.0.bias', (1, h)),
        ('encoder.1.weight', (h, h)), ('encoder.1.bias', (1, h)), ('encoder.2.weight', (h, h)), ('encoder.2.bias', (1, h)),
        ('decoder.row.weight', (in_width(case) + k, h)), ('decoder.task.weight', (h + 1 + k, h)), ('decoder.0.bias', (1, h)),
        ('decoder.1.weight', (h, h)), ('decoder.1.bias', (1, h)),
        ('decoder.2.weight', (h, more)), ('decoder.2.bias', (1, more)),
        ('state.rows', (1, 1)), ('state.summary', (1, h)), ('state.pull', (1, k)), ('state.information', (1, k))]


def columns(case):
    """What small_tasks.h says the inputs are, and which numbers vaml says of each."""
    if case['embeddings']:
        return [dict(kind='number', inputs=[0, 1], said=[0, 1, 2]), dict(kind='boolean', inputs=[2], said=[3]),
                dict(kind='table', table=0, inputs=[3, 4], said=[4, 5]), dict(kind='table', table=1, inputs=[5, 6, 7], said=[6, 7, 8])]
    return [dict(kind='one_hot', inputs=[0, 1], said=[2, 3]), dict(kind='number', inputs=[2], said=[0, 1])]


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


def summary(case, p, parts):
    """k, sum e, r, i over all rows of the parts."""
    act = getattr(torch, case['activation'])
    rows = [(x[r:r + 1], c[r:r + 1], y[r:r + 1], w[r]) for x, c, y, w in parts for r in range(len(w))]
    k, total, pull, information = torch.zeros(1), torch.zeros(CONTEXT), torch.zeros(outputs(case)), torch.zeros(outputs(case))
    for x, c, y, w in rows:
        mean = expected(case, base.forward(case, p, x, c))
        y = targets(case, y)
        e = act(torch.cat([inputs(case, p, x, c), y, y - mean], 1) @ p['encoder.0.weight'] + p['encoder.0.bias'])
        e = e @ p['encoder.1.weight'] + p['encoder.1.bias']
        total = total + w * (e + (inputs(case, p, x, c) @ p['encoder.row.weight']) * ((y - mean) @ p['encoder.residual.weight']))[0]
        k, pull = k + w, pull + w * (y - mean)[0]
        information = information + w * (1.0 if case['loss'] == 'squared' else (mean * (1 - mean))[0])
    return k, total, pull, information


def latent(case, p, parts):
    """The normal distribution of z."""
    act = getattr(torch, case['activation'])
    k, total, pull, information = summary(case, p, parts)
    o, d = outputs(case), outputs(case) + LATENT
    tau2 = scale(p, 'spread.bias')
    sigma2 = scale(p, 'noise.bias') + 1e-4 if case['loss'] == 'squared' else 1.0
    variance = 1 / (1 + tau2 * information / sigma2)
    level = variance * torch.sqrt(tau2) * pull / sigma2
    said = act(torch.cat([total / (k + scale(p, 'count.bias')), torch.log1p(k), level])[None] @ p['reader.0.weight'] + p['reader.0.bias'])
    said = (said @ p['reader.1.weight'] + p['reader.1.bias'])[0]
    mean = said[:d] + torch.cat([level, torch.zeros(LATENT)])
    return torch.distributions.Normal(mean, torch.sqrt(torch.exp(8 * torch.tanh(said[d:] / 8)) * torch.cat([variance + 0 * level, torch.ones(LATENT)])))


def target_of(case, p, z, x, c):
    """Outputs and variances of rows under one z."""
    act = getattr(torch, case['activation'])
    o = outputs(case)
    psi = torch.cat([hidden(case, p, x, c), inputs(case, p, x, c)], 1) @ p['feature.weight'] + p['feature.bias']
    bend = (act(z @ p['film.0.weight'] + p['film.0.bias']) @ p['film.1.weight'] + p['film.1.bias'])[0]
    said = act(psi * (1 + bend[:FEATURES]) + bend[FEATURES:]) @ p['output.weight'] + p['output.bias']
    out = base.forward(case, p, x, c) + torch.sqrt(scale(p, 'spread.bias')) * z[:o] + said[:, :o]
    if case['loss'] != 'squared':
        return out, None
    return out, (scale(p, 'noise.bias') + 1e-4) * torch.exp(4 * torch.tanh(said[:, o] / 4)) + 1e-4


def target_log(case, out, variance, y):
    """log p(y)"""
    if case['loss'] == 'squared':
        return torch.distributions.Normal(out[:, 0], torch.sqrt(variance)).log_prob(y)
    return -each_loss(case, out, y)


def known(case, p, part):
    """The mean input, drawn towards 0, and how little it is."""
    x, c, _, w = part
    each = torch.cat([inputs(case, p, x, c), torch.ones(len(x), 1)], 1)
    return w @ each / (w.sum() + scale(p, 'columns.count.bias'))


def columns_log(case, p, z, m, x, c):
    """log p(x | z, m), each column by itself."""
    act = getattr(torch, case['activation'])
    all_columns = columns(case)
    n, units = len(all_columns), p['columns.hidden.weight'].shape[0]
    of_input = {i: q for q, column in enumerate(all_columns) for i in column['inputs']}
    see = inputs(case, p, x, c)
    total = torch.zeros(len(x))
    for q, column in enumerate(all_columns):
        h = []
        for u in range(units):
            seen = [i for i in of_input if of_input[i] < u % n]
            h.append(act(4 * (see[:, seen] @ p['columns.input.weight'][seen, u] + z @ p['columns.input.latent'][:, u]
                              + m @ p['columns.input.known'][:, u]
                              + p['columns.input.bias'][0, u])))
        use = [u for u in range(units) if u % n <= q]
        before = [i for i in of_input if of_input[i] < q]
        o = 4 * (torch.stack(h, 1)[:, use] @ p['columns.hidden.weight'][use] + see[:, before] @ p['columns.direct.weight'][before]
                 + z @ p['columns.direct.latent'] + m @ p['columns.direct.known'] + p['columns.said.bias'])[:, column['said']]
        if column['kind'] == 'number':
            spread = torch.exp(3 * torch.tanh(o[:, 1] / 6))
            each = torch.distributions.Normal(o[:, 0], spread).log_prob(x[:, column['inputs'][0]])
            if len(column['inputs']) > 1:
                missing = x[:, column['inputs'][1]]
                each = each * (1 - missing) - torch.nn.functional.binary_cross_entropy_with_logits(o[:, 2], missing, reduction='none')
        elif column['kind'] == 'boolean':
            each = -torch.nn.functional.binary_cross_entropy_with_logits(o[:, 0], x[:, column['inputs'][0]], reduction='none')
        elif column['kind'] == 'one_hot':
            each = (x[:, column['inputs']] * torch.log_softmax(o, 1)).sum(1)
        else:
            code = c[:, column['table']]
            logits = o @ p['embedding.%d' % column['table']].t() + 4 * p['columns.label.%d.bias' % column['table']][:, 0]
            each = torch.where(code > 0, torch.log_softmax(logits[:, 1:], 1).gather(1, (code - 1).clamp(min=0)[:, None])[:, 0],
                               torch.zeros(len(x)))
        total = total + each
    return total


def fixed_noise(samples, d):
    """Draws of predictions: a sequence of low discrepancy, made normal, mirrored, orthonormal as far as it goes."""
    half, root = samples // 2, 1.5
    for _ in range(100):
        root = (1 + root) ** (1 / (2 * d + 1))
    done = []
    for j in range(d):
        u, v = ([math.fmod(0.5 + (i + 1) * root ** -(2 * j + s), 1) for i in range(half)] for s in (1, 2))
        column = torch.tensor([math.sqrt(-2 * math.log(1 - a)) * math.cos(2 * math.pi * b) for a, b in zip(u, v)])
        if j < half:
            for other in done:
                column = column - (column @ other) / (other @ other) * other
        done.append(column * math.sqrt(samples / 2 / float(column @ column)))
    draws = torch.zeros(samples, d)
    for i in range(half):
        draws[2 * i] = torch.stack([column[i] for column in done])
        draws[2 * i + 1] = -draws[2 * i]
    return draws


def average(case, each):
    """One prediction of many: outputs, variances."""
    outs = torch.stack([o for o, _ in each])
    if case['loss'] == 'squared':
        return outs.mean(0), (torch.stack([v for _, v in each]).mean(0) + outs.var(0, unbiased=False)[:, 0])
    if case['loss'] == 'logistic':
        return torch.logit(torch.sigmoid(outs).mean(0)), None
    return torch.log(torch.softmax(outs, 2).mean(0)), None


def vaml(case, p, support, x, c):
    q = latent(case, p, [support])
    return average(case, [target_of(case, p, q.mean + q.stddev * e, x, c) for e in fixed_noise(SAMPLES, len(q.mean))])


def vaml_likelihoods(case, p, support, x, c, y):
    q = latent(case, p, [support])
    each = []
    for e in fixed_noise(SAMPLES, len(q.mean)):
        z = q.mean + q.stddev * e
        each.append(columns_log(case, p, z, known(case, p, support), x, c) + target_log(case, *target_of(case, p, z, x, c), y))
    return torch.logsumexp(torch.stack(each), 0) - math.log(SAMPLES)


def vaml_losses(case, p):
    losses, divergences = [], []
    for task in range(len(base.SUPPORT)):
        support, query = base.rows_of(case, 0, task), base.rows_of(case, 1, task)
        x, c, y, w = query
        before, after = latent(case, p, [support]), latent(case, p, [support, query])
        d = len(before.mean)
        noise = torch.tensor([2 * base.wave(case['seed'], 50, (task * TRAINING_SAMPLES + m) * d + j)
                              for m in range(TRAINING_SAMPLES) for j in range(d)]).reshape(TRAINING_SAMPLES, d)
        # what is constant in the likelihood of numbers is left out of the targets'
        constant = math.log(2 * math.pi) / 2 if case['loss'] == 'squared' else 0.0
        bound = torch.stack([target_log(case, *target_of(case, p, after.mean + after.stddev * e, x, c), y) for e in noise]).mean(0)
        rows = columns_log(case, p, after.mean + after.stddev * noise[0], known(case, p, support), x, c)
        out, variance = average(case, [target_of(case, p, before.mean + before.stddev * e, x, c) for e in noise])
        each = -(1 + ROW_WEIGHT) * (bound + constant) - ROW_WEIGHT * rows - (target_log(case, out, variance, y) + constant)
        if case['loss'] == 'squared':
            each = each + each_loss(case, out, y) / 2
        losses.append((w * each).sum())
        divergences.append(torch.distributions.kl_divergence(after, before).sum())
    share = len(base.SUPPORT) / sum(base.rows_of(case, 1, task)[3].sum() for task in range(len(base.SUPPORT)))
    return [share * (l + KL_WEIGHT * PROGRESS / 0.25 * k) for l, k in zip(losses, divergences)]


def solve(case, theta):
    weight = sum(base.rows_of(case, 1, task)[3].sum() for task in range(len(base.SUPPORT)))
    losses, outs, variances, likelihoods = [], [], [], []
    for task in range(len(base.SUPPORT)):
        x, c, y, w = base.rows_of(case, 1, task)
        support = base.rows_of(case, 0, task)
        out, variance = {'cnp': cnp, 'ridge': ridge, 'vaml': vaml}[case['learner']](case, theta, support, x, c)
        if case['learner'] == 'vaml':
            likelihoods += vaml_likelihoods(case, theta, support, x, c, y).tolist()
        each = each_loss(case, out, y)
        if variance is not None:
            each = (torch.log(variance) + each / variance) / 2
            variances += variance.tolist()
        losses.append((w * each).sum() / weight * len(base.SUPPORT))
        outs += out.flatten().tolist()
    if case['learner'] == 'vaml':
        losses = vaml_losses(case, theta)
    wanted = [n for n in theta if not n.startswith('state.')]
    gradients = dict(zip(wanted, torch.autograd.grad(sum(losses), [theta[n] for n in wanted], allow_unused=True)))
    flat = torch.cat([(torch.zeros_like(v) if gradients.get(n) is None else gradients[n]).flatten() for n, v in theta.items()])
    return [float(l) for l in losses], flat.tolist(), outs, variances, likelihoods


def cases():
    for learner in ('cnp', 'ridge', 'vaml'):
        for loss in ('squared', 'logistic', 'softmax'):
            for more in (True, False):
                yield dict(learner=learner, loss=loss, activation='tanh' if more else 'sigmoid', skip=more,
                           embeddings=more, seed=5)


def main():
    print('/*\n * closed.h\n *\t  Written by make_closed_goldens.py with PyTorch %s; not to be edited.\n */' % torch.__version__)
    print('#ifndef UNIT_GOLDENS_CLOSED_H\n#define UNIT_GOLDENS_CLOSED_H\n')
    print('#define GOLDEN_PROGRESS %s\n' % PROGRESS)
    lines = []
    for i, case in enumerate(cases()):
        names = []
        for name, values in zip(('losses', 'gradient', 'outputs', 'variances', 'likelihoods'), solve(case, parameters(case))):
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
          '\tconst double *variances;\t/* of the same, or NULL */\n'
          '\tconst double *likelihoods;	/* of the same, as whole rows, or NULL */\n\tsize_t\t\tsize;\t\t\t/* of the gradient */\n} GoldenClosed;\n')
    print('static const GoldenClosed golden_closed[] = {\n\t' + ',\n\t'.join(lines) + ',\n};\n')
    print('#endif\t\t\t\t\t\t\t/* UNIT_GOLDENS_CLOSED_H */')


if __name__ == '__main__':
    sys.exit(main())
