import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { fusedLevels, withKernels } from '../../test/kernel-levels.js';
import { expectClose } from '../../test/numeric.js';
import * as torch from '../index.js';

const { nn, optim } = torch;

const levels = fusedLevels();
const widest = levels.at(-1) ?? 'composed';

// Around a vector (16), a piece of work (16,384), and several pieces for each of two threads.
const SIZES = [1, 15, 16, 17, 1000, 16_383, 16_385, 200_003];

type Kind = 'float32' | 'bfloat16' | 'float64';

/** A few updates with two gradients; everything that an update writes. */
function train(kind: Kind, size: number, steps = 3, gradients: Kind = kind === 'float64' ? kind : 'float32') {
  torch.manualSeed(size);
  const random = (dtype: Kind) => torch.randn([size]).to(dtype);
  const w = new nn.Parameter(random(kind));
  const flat = new optim.FlatParameters([{ parameters: [['w', w]] }]);
  const adamw = new optim.AdamW(flat, { lr: 0.01, weightDecay: 0.1 });
  for (let i = 0; i < steps; i++) {
    const [first, second] = [0, 1].map(() => {
      const buffer = torch.zeros([flat.size], { dtype: gradients });
      buffer.narrow(0, 0, size).copy_(random(gradients));
      return { flat: buffer, reached: [true] };
    });
    if (i === 1) adamw.step(first, 0.5, 0.25);
    else adamw.step({ first, second, a: 0.5, b: -1.5 }, 1, 0.7);
  }
  return [w.detach().to('float64'), adamw.expAvg, adamw.expAvgSq];
}

const digest = (tensors: torch.Tensor[]) =>
  tensors.map((tensor) => createHash('sha256').update(tensor.toTypedArray()).digest('hex'));

describe.skipIf(levels.length === 0)('craft::sweep', () => {
  it.each(['float32', 'bfloat16', 'float64'] as const)(
    '%s parameters: as composed of stock operators',
    (kind) => {
      for (const size of SIZES) {
        const composed = withKernels('composed', () => train(kind, size));
        const fused = withKernels(widest, () => train(kind, size), 2);
        // A bfloat16 parameter may round to the neighbour.
        const tolerance = { float32: 2e-6, bfloat16: 2 ** -8, float64: 1e-14 }[kind];
        expectClose(fused[0], composed[0], tolerance);
        for (const i of [1, 2]) expectClose(fused[i], composed[i], kind === 'float64' ? 1e-14 : 1e-6);
      }
    },
  );

  it('bfloat16 gradients', () => {
    const composed = withKernels('composed', () => train('bfloat16', 1000, 3, 'bfloat16'));
    const fused = withKernels(widest, () => train('bfloat16', 1000, 3, 'bfloat16'));
    expectClose(fused[0], composed[0], 2 ** -8);
    expectClose(fused[1], composed[1], 1e-2);
  });

  it.each(['float32', 'bfloat16', 'float64'] as const)(
    '%s: the same bits at every level and on two threads',
    (kind) => {
      for (const size of [17, 200_003]) {
        const expected = digest(withKernels('plain', () => train(kind, size)));
        for (const level of levels) {
          for (const threads of [1, 2]) {
            expect(digest(withKernels(level, () => train(kind, size), threads))).toEqual(expected);
          }
        }
      }
    },
  );

  it('is what an update runs, and touches no memory between parameters', () => {
    expect(optim.kernels()).toMatchObject({ path: 'fused', level: widest, reason: null });
    const parameters = [3, 17].map((n, i) => [`p${i}`, new nn.Parameter(torch.ones([n]))] as const);
    const flat = new optim.FlatParameters([{ parameters }]);
    const adamw = new optim.AdamW(flat, { weightDecay: 0.5, lr: 0.1 });
    const gradient = flat.gradBuffer();
    gradient.view(0).fill_(1);
    gradient.view(1).fill_(1);
    gradient.reached.fill(true);
    adamw.step(gradient);
    for (const buffer of [flat.data, adamw.expAvg, adamw.expAvgSq]) {
      expect(buffer.ne(0).sum().item()).toBe(20);
    }
  });
});

describe('numbers of their own', () => {
  it.each(['composed', widest] as const)('%s: a pair of coefficients per parameter', (level) => {
    const net = () =>
      new optim.FlatParameters([
        { parameters: [5, 16, 40].map((n, i) => [`p${i}`, new nn.Parameter(torch.ones([n]))] as const) },
      ]);
    const [together, apart] = [net(), net()];
    torch.manualSeed(1);
    const gradients = [0, 1].map(() => ({
      flat: torch.randn([together.size]),
      reached: [true, true, false],
    }));
    gradients[1].reached = [false, true, false];
    const [a, b] = [
      [1, 0.5, 3],
      [0, 2, 3],
    ];
    withKernels(level, () => {
      const adamw = new optim.AdamW(together, { lr: 0.1 });
      adamw.step({ first: gradients[0], second: gradients[1], a, b });
      expect(adamw.steps).toEqual([1, 1, 0]);
      const merged = torch.zeros([apart.size]);
      apart.entries.forEach((entry, i) => {
        const [x, y] = gradients.map(({ flat }) => apart.view(flat, entry));
        apart.view(merged, entry).copy_(x.mul(a[i]).add(y, { alpha: b[i] }));
      });
      new optim.AdamW(apart, { lr: 0.1 }).step({ flat: merged, reached: [true, true, false] });
    });
    together.entries.forEach((entry, i) => {
      expectClose(entry.parameter, apart.entries[i].parameter, 1e-6);
    });
    expect(together.entries[2].parameter.eq(1).all().item()).toBe(1);
  });
});

describe('gram', () => {
  const both = [...new Set(['composed', widest] as const)];

  it.each(both)('%s: every element counts once, in every dtype', (level) => {
    for (const dtype of ['float32', 'bfloat16', 'float64'] as const) {
      for (const size of [...SIZES, 32_767, 32_769, 65_536]) {
        const ones = torch.ones([size], { dtype });
        const found = withKernels(level, () => optim.gram(ones, ones.mul(2)), 2);
        expect(found).toEqual([{ d: 2 * size, T: size, R: 4 * size }]);
      }
    }
  });

  it.each(both)('%s: stretches, norms, and what is not finite', (level) => {
    withKernels(level, () => {
      const x = torch.tensor([3, 4, 100, 4096, 1]);
      const stretches = [
        { offset: 0, length: 2 },
        { offset: 3, length: 2 },
        { offset: 2, length: 0 },
      ];
      // A small term survives beside a large one: sums are float64.
      const rows = [25, 2 ** 24 + 1, 0].map((sum) => ({ d: sum, T: sum, R: sum }));
      expect(optim.gram(x, x, stretches)).toEqual(rows);
      expect(optim.gradNorm(x.narrow(0, 0, 2))).toBe(5);
      const broken = optim.gram(torch.tensor([Number.NaN, 1]), torch.tensor([1, 1]))[0];
      expect([broken.d, broken.T, broken.R]).toEqual([Number.NaN, Number.NaN, 2]);
      expect(optim.gradNorm(torch.tensor([1, Number.POSITIVE_INFINITY]))).toBe(Number.POSITIVE_INFINITY);
    });
  });

  it.each(['float32', 'bfloat16', 'float64'] as const)(
    '%s: the same bits at every level and on two threads',
    (dtype) => {
      torch.manualSeed(0);
      const [x, y] = [0, 1].map(() => torch.randn([200_003], { dtype: 'float64' }).to(dtype));
      const results = levels.flatMap((level) =>
        [1, 2].map((threads) => withKernels(level, () => optim.gram(x, y), threads)[0]),
      );
      const [{ d, T, R }] = withKernels('composed', () => optim.gram(x, y));
      for (const result of results) {
        expect(result).toEqual(results[0]);
        for (const [found, expected] of [
          [result.d, d],
          [result.T, T],
          [result.R, R],
        ]) {
          expect(Math.abs(found - expected)).toBeLessThan(1e-13 * T);
        }
      }
    },
  );

  it.each(both)('%s: pairs of any shape, with a side missing', (level) => {
    const a = torch.arange(0, 6).to('float32').view([2, 3]);
    const pairs = [[a.t(), a.t()] as const, [torch.tensor(2), null] as const, [null, null] as const];
    expect(withKernels(level, () => optim.gramOfPairs(pairs))).toEqual([
      { d: 55, T: 55, R: 55 },
      { d: 0, T: 4, R: 0 },
      { d: 0, T: 0, R: 0 },
    ]);
  });
});

describe('choosing kernels', () => {
  it('refuses a level that does not exist, and stays with what was chosen', () => {
    expect(craftError(() => optim.useKernels('sse' as 'plain')).code).toBe('KERNELS_UNKNOWN');
    const composed = withKernels('composed', () => optim.kernels());
    expect(composed).toMatchObject({ path: 'composed', level: null, reason: 'CRAFT_KERNELS=composed' });
  });
});
