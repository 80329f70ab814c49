import { describe, expect, it } from 'vitest';
import { gradcheck, numbers } from '../test/numeric.js';
import type { Tensor } from './index.js';
import * as torch from './index.js';

type F = (...x: Tensor[]) => Tensor | Tensor[];

/** name, function, shapes of its inputs, and the range its inputs come from (default [-1, 1]) */
type Case = [name: string, f: F, shapes: number[][], low?: number, high?: number];

const S = [2, 3];
const { functional: F } = torch.nn;
const ints = (...values: number[]) => torch.tensor(values, { dtype: 'int64' });

const pointwise: Case[] = [
  ['add', (a, b) => a.add(b, { alpha: 2 }), [S, S]],
  ['add, broadcast', (a, b) => a.add(b), [S, [3]]],
  ['sub', (a, b) => a.sub(b), [[2, 1], [3]]],
  ['rsub', (a) => a.rsub(2), [S]],
  ['mul', (a, b) => a.mul(b), [S, [2, 1]]],
  ['div', (a, b) => a.div(b), [S, S], 0.5, 2],
  ['remainder', (a) => a.remainder(0.37), [S], 0.1, 0.3],
  ['pow, number', (a) => a.pow(2.5), [S], 0.2, 2],
  ['pow, tensor', (a, b) => a.pow(b), [S, S], 0.2, 2],
  ['addcmul', (a, b, c) => a.addcmul(b, c, { value: 0.3 }), [S, S, S]],
  ['addcdiv', (a, b, c) => a.addcdiv(b, c, { value: 0.3 }), [S, S, S], 0.5, 2],
  ['lerp', (a, b, w) => a.lerp(b, w), [S, S, S]],
  ['neg', (a) => a.neg(), [S]],
  ['abs', (a) => a.abs(), [S], 0.1, 1],
  ['exp', (a) => a.exp(), [S]],
  ['expm1', (a) => a.expm1(), [S]],
  ['log', (a) => a.log(), [S], 0.2, 3],
  ['log1p', (a) => a.log1p(), [S], -0.5, 3],
  ['log2', (a) => a.log2(), [S], 0.2, 3],
  ['sqrt', (a) => a.sqrt(), [S], 0.2, 3],
  ['rsqrt', (a) => a.rsqrt(), [S], 0.2, 3],
  ['square', (a) => a.square(), [S]],
  ['reciprocal', (a) => a.reciprocal(), [S], 0.5, 2],
  ['sin', (a) => a.sin(), [S]],
  ['cos', (a) => a.cos(), [S]],
  ['tan', (a) => a.tan(), [S]],
  ['atan2', (a, b) => a.atan2(b), [S, S], 0.2, 1],
  ['tanh', (a) => a.tanh(), [S]],
  ['sigmoid', (a) => a.sigmoid(), [S]],
  ['logit', (a) => a.logit(), [S], 0.2, 0.8],
  ['erf', (a) => a.erf(), [S]],
  ['erfinv', (a) => a.erfinv(), [S], -0.8, 0.8],
  ['clamp', (a) => a.clamp(-0.4, 0.6), [[5, 5]]],
  ['maximum', (a, b) => a.maximum(b), [S, S]],
  ['minimum', (a, b) => a.minimum(b), [S, S]],
  ['where', (a, b) => torch.where(a.detach().gt(b.detach()), a.mul(2), b), [S, S]],
  ['maskedFill', (a) => a.maskedFill(torch.tensor([true, false, true]), 3), [S]],
  ['chain through in-place forms', (a, b) => a.mul(2).add_(b).mul_(b).sigmoid(), [S, S]],
];

const reductions: Case[] = [
  ['sum', (a) => a.sum(), [S]],
  ['sum over a dimension', (a) => a.sum([1], true), [S]],
  ['mean', (a) => a.mean([0]), [S]],
  ['prod', (a) => a.prod(1), [S]],
  ['var', (a) => a.var([1], { correction: 0 }), [S]],
  ['std', (a) => a.std([0, 1]), [S]],
  ['amax', (a) => a.amax([1]), [S]],
  ['max with indices', (a) => a.max(1)[0], [S]],
  ['min of all', (a) => a.min(), [S]],
  ['logsumexp', (a) => a.logsumexp([1]), [S]],
  ['norm', (a) => a.norm(2), [S]],
  ['cumsum', (a) => a.cumsum(1), [S]],
  ['cumprod', (a) => a.cumprod(0), [S]],
  ['median', (a) => a.median(1)[0], [S]],
  ['sort', (a) => a.sort(1, true)[0], [S]],
  ['topk', (a) => a.topk(2, 1)[0], [[2, 5]]],
  ['diff', (a) => a.diff(), [S]],
  ['dist', (a, b) => a.dist(b), [S, S]],
];

const linear: Case[] = [
  ['matmul', (a, b) => a.matmul(b), [S, [3, 2]]],
  [
    'matmul, batched and broadcast',
    (a, b) => a.matmul(b),
    [
      [2, 2, 3],
      [3, 2],
    ],
  ],
  [
    'bmm',
    (a, b) => a.bmm(b),
    [
      [2, 2, 3],
      [2, 3, 2],
    ],
  ],
  ['mv and dot', (a, b) => a.mv(b).dot(a.mv(b)), [S, [3]]],
  ['addmm', (a, b, c) => a.addmm(b, c, { beta: 0.5, alpha: 2 }), [[2, 2], S, [3, 2]]],
  ['outer', (a, b) => a.outer(b), [[2], [3]]],
  [
    'einsum',
    (a, b) => torch.einsum('bij,bkj->bik', [a, b]),
    [
      [2, 2, 3],
      [2, 2, 3],
    ],
  ],
  ['linear', (x, w, b) => torch.linear(x, w, b), [[2, 2, 3], [4, 3], [4]]],
  ['tril and triu', (a) => [a.tril(), a.triu(1)], [[3, 3]]],
  ['linalgInv', (a) => a.add(torch.eye(3).mul(3)).linalgInv(), [[3, 3]]],
  ['cdist', (a, b) => torch.cdist(a, b), [S, [4, 3]]],
];

const layers: Case[] = [
  ['conv1d', (x, w, b) => torch.conv1d(x, w, b, 2, 1), [[1, 2, 5], [3, 2, 3], [3]]],
  ['conv2d', (x, w, b) => torch.conv2d(x, w, b, [2, 1], [1, 0]), [[1, 2, 4, 3], [2, 2, 3, 2], [2]]],
  [
    'conv2d with groups and dilation',
    (x, w) => torch.conv2d(x, w, null, 1, 2, 2, 2),
    [
      [1, 2, 3, 3],
      [2, 1, 2, 2],
    ],
  ],
  [
    'convTranspose2d',
    (x, w) => torch.convTranspose2d(x, w, null, 2),
    [
      [1, 2, 2, 2],
      [2, 1, 2, 2],
    ],
  ],
  ['maxPool2d', (x) => torch.maxPool2d(x, 2, 2), [[1, 1, 4, 4]]],
  ['avgPool2d', (x) => torch.avgPool2d(x, [2, 2]), [[1, 1, 4, 4]]],
  ['adaptiveAvgPool2d', (x) => torch.adaptiveAvgPool2d(x, [1, 2]), [[1, 2, 3, 4]]],
  ['layerNorm', (x, w, b) => torch.layerNorm(x, [3], w, b), [S, [3], [3]]],
  ['groupNorm', (x, w, b) => torch.groupNorm(x, 2, w, b), [[2, 4, 2], [4], [4]]],
  [
    'batchNorm in training',
    (x, w, b) => torch.batchNorm(x, w, b, torch.zeros([2], f64), torch.ones([2], f64), true, 0.1, 1e-5),
    [[3, 2, 2], [2], [2]],
  ],
  ['softmax', (a) => a.softmax(-1), [S]],
  ['logSoftmax', (a) => a.logSoftmax(0), [S]],
  ['relu', (a) => a.relu(), [S], 0.1, 1],
  ['leakyRelu', (a) => a.leakyRelu(0.1), [S], -1, -0.1],
  ['elu', (a) => a.elu(), [S], -1, -0.1],
  ['gelu', (a) => a.gelu(), [S]],
  ['gelu, tanh', (a) => a.gelu({ approximate: 'tanh' }), [S]],
  ['silu', (a) => a.silu(), [S]],
  ['mish', (a) => a.mish(), [S]],
  ['softplus', (a) => a.softplus(), [S]],
  ['glu', (a) => a.glu(), [[2, 4]]],
  ['embedding', (w) => torch.embedding(w, ints(0, 2, 0)), [[3, 2]]],
  ['interpolate, bilinear', (x) => F.interpolate(x, { size: [5, 4] }), [[1, 1, 3, 3]]],
  ['interpolate, bicubic', (x) => F.interpolate(x, { size: [2, 5], mode: 'bicubic' }), [[1, 1, 3, 3]]],
  ['interpolate, antialiased', (x) => F.interpolate(x, { size: [2, 2], antialias: true }), [[1, 1, 4, 4]]],
  ['interpolate, nearest', (x) => F.interpolate(x, { size: [4, 6], mode: 'nearest' }), [[1, 1, 2, 3]]],
  [
    'attention',
    (q, k, v) => F.scaledDotProductAttention(q, k, v),
    [
      [1, 2, 3],
      [1, 4, 3],
      [1, 4, 2],
    ],
  ],
  [
    'attention, causal',
    (q, k, v) => F.scaledDotProductAttention(q, k, v, { isCausal: true }),
    [
      [1, 3, 2],
      [1, 3, 2],
      [1, 3, 2],
    ],
  ],
  [
    'attention, additive mask',
    (q, k, m) => F.scaledDotProductAttention(q, k, k, { attnMask: m }),
    [
      [1, 2, 2],
      [1, 3, 2],
      [2, 3],
    ],
  ],
];

const losses: Case[] = [
  ['mseLoss', (a, b) => F.mseLoss(a, b), [S, S]],
  ['l1Loss', (a, b) => F.l1Loss(a, b, 'sum'), [S, S]],
  ['smoothL1Loss', (a, b) => torch.smoothL1Loss(a, b), [S, S]],
  ['huberLoss', (a, b) => torch.huberLoss(a, b, 1, 0.5), [S, S]],
  ['crossEntropy', (a) => F.crossEntropy(a, ints(2, 0), { labelSmoothing: 0.1 }), [S]],
  ['crossEntropy, ignored class', (a) => F.crossEntropy(a, ints(-100, 1)), [S]],
  ['nllLoss', (a) => torch.nllLoss(a.logSoftmax(1), ints(1, 2)), [S]],
  [
    'binaryCrossEntropyWithLogits',
    (a) => torch.binaryCrossEntropyWithLogits(a, torch.full(S, 0.3, f64)),
    [S],
  ],
  ['klDiv', (a, b) => torch.klDiv(a, b, 1), [S, S], 0.2, 1],
  ['cosineSimilarity', (a, b) => torch.cosineSimilarity(a, b, 1), [S, S]],
];

const shapes: Case[] = [
  ['view, permute, reshape', (a) => a.view([3, 2]).permute([1, 0]).reshape([6]), [S]],
  ['flatten, unsqueeze, squeeze', (a) => a.flatten().unsqueeze(0).squeeze(0), [S]],
  ['expand and repeat', (a) => a.expand([4, 2, 3]).mul(a.repeat([4, 1, 1])), [S]],
  ['cat and stack', (a, b) => torch.cat([torch.stack([a, b], 1).flatten(0, 1), a], 0), [S, S]],
  ['split, chunk, unbind', (a) => [...a.split(2, 1), ...a.chunk(2, 0), ...a.unbind(1)], [S]],
  ['flip and roll', (a) => a.flip([1]).mul(a.roll([1], [0])), [S]],
  ['narrow and select', (a) => [a.narrow(1, 1, 2), a.select(0, 1)], [S]],
  ['unfold', (a) => a.unfold(1, 2, 1), [S]],
  ['pad', (a) => torch.pad(a, [1, 2], 'constant', 0.5), [S]],
  ['diagonal', (a) => a.diagonal(), [[3, 3]]],
  ['index with tensors', (a) => a.index(ints(1, 0, 1), torch.slice(1)), [S]],
  ['indexSelect', (a) => a.indexSelect(1, ints(2, 0)), [S]],
  ['gather', (a) => a.gather(1, torch.tensor([[2], [0]], { dtype: 'int64' })), [S]],
  ['scatterAdd', (a, b) => a.scatterAdd(1, torch.tensor([[2], [0]], { dtype: 'int64' }), b), [S, [2, 1]]],
  ['indexAdd', (a, b) => a.indexAdd(0, ints(1), b), [S, [1, 3]]],
  ['maskedSelect', (a) => a.maskedSelect(torch.tensor([true, false, true])), [S]],
  ['indexPut_', (a, b) => a.mul(1).indexPut_([ints(0)], b), [S, [3]]],
];
const f64 = { dtype: 'float64' } as const;

const groups = { pointwise, reductions, linear, layers, losses, shapes };

describe.each(Object.entries(groups))('gradients equal finite differences: %s', (_, cases) => {
  it.each(cases)('%s', (_, f, inputs, low = -1, high = 1) => {
    const data = inputs.map((shape, k) => ({
      shape,
      data: numbers(
        shape.reduce((product, n) => product * n, 1),
        low,
        high,
        k + 1,
      ),
    }));
    gradcheck(f, data);
  });
});

it('covers over a hundred operators and composites', () => {
  expect(Object.values(groups).flat().length).toBeGreaterThan(100);
});
