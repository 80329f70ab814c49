import { nn, optim, type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../policies/src/policy.js';
import { makeSchedule, Optimization } from './optimization.js';

const at = (config: Parameters<typeof makeSchedule>[0], steps: number, ...of: number[]) =>
  of.map((step) => makeSchedule(config, steps)(step));

test('no schedule: the rate stays', () => {
  expect(at(null, 10, 0, 5, 9)).toEqual([1, 1, 1]);
});

test('constant with a warm-up', () => {
  const factors = at({ type: 'constant', num_warmup_steps: 4 }, 10, 0, 1, 2, 3, 4, 9);
  for (let i = 1; i < 5; i++) expect(factors[i]).toBeGreaterThan(factors[i - 1]!);
  expect(factors.slice(4)).toEqual([1, 1]);
  expect(factors[0]).toBeGreaterThan(0);
});

test('linear: to its end, which is by default that of the run', () => {
  const config = { type: 'linear', num_warmup_steps: 0, num_decay_steps: 0, decay_factor: 0.5 } as const;
  expect(at(config, 10, 0, 5, 10, 20)).toEqual([1, 0.75, 0.5, 0.5]);
  expect(at({ ...config, num_decay_steps: 4 }, 10, 0, 2, 4, 9)).toEqual([1, 0.75, 0.5, 0.5]);
});

test("LeRobot's cosine shrinks with a run that is shorter than it", () => {
  const config = {
    type: 'cosine_decay_with_warmup',
    num_warmup_steps: 1000,
    num_decay_steps: 30_000,
    peak_lr: 1,
    decay_lr: 0.1,
  } as const;
  const [first, last] = at(config, 300, 0, 300);
  expect(first).toBeLessThan(0.2);
  expect(last).toBeCloseTo(0.1, 10);
});

describe('updates', () => {
  const optimizer = {
    type: 'adamw',
    lr: 0.1,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0.01,
    grad_clip_norm: 1,
  } as const;

  function start() {
    const parameters = [2, 3].map(
      (n, i) => [`p${i}`, new nn.Parameter(tensor([1, 2, 3].slice(0, n)))] as const,
    );
    const policy = { parameterGroups: () => [{ parameters }] } as unknown as Policy;
    const optimization = new Optimization(policy, { ...optimizer, betas: [0.9, 0.999] }, null, 10);
    const { parameters: flat } = optimization;
    const gradient = (values: number[][]) => {
      const buffer = flat.zeros();
      values.forEach((part, i) => {
        if (part.length > 0) flat.view(buffer, flat.entries[i]!).copy_(tensor(part));
      });
      return { flat: buffer, reached: values.map((part) => part.length > 0) };
    };
    return { optimization, gradient, values: () => parameters.map(([, p]) => p.tolist()) };
  }

  test('a clipped gradient stays as it is; the update is that of the clipped one', () => {
    const [whole, clipped] = [start(), start()];
    const large = whole.gradient([[3, 4], []]);
    expect(whole.optimization.apply(0, large).gradNorm).toBe(5);
    expect((large.flat.narrow(0, 0, 2) as Tensor).tolist()).toEqual([3, 4]);
    const scale = 1 / (5 + 1e-6);
    clipped.optimization.apply(0, clipped.gradient([[3 * scale, 4 * scale], []]));
    whole.values().forEach((part, i) => {
      (part as number[]).forEach((value, k) => {
        expect(value).toBeCloseTo((clipped.values()[i] as number[])[k]!, 6);
      });
    });
    expect(whole.values()[1]).toEqual([1, 2, 3]);
  });

  test('a·task + b·retain in one pass equals the update with the merged gradient', () => {
    const [fused, merged] = [start(), start()];
    const [a, b] = [1, 0.5];
    const task = fused.gradient([[0.1, 0.2], []]);
    const retain = fused.gradient([
      [0.4, -0.2],
      [0.2, 0, 0.2],
    ]);
    const sum = merged.gradient([
      [0.3, 0.1],
      [0.1, 0, 0.1],
    ]);
    const norm = optim.gradNorm(sum.flat);
    expect(fused.optimization.apply(0, { first: task, second: retain, a, b }, norm)).toEqual({
      gradNorm: norm,
      lr: 0.1,
    });
    merged.optimization.apply(0, sum);
    expect(fused.values()).toEqual(merged.values());
    expect(fused.optimization.adamw.steps).toEqual([1, 1]);
  });

  test('a norm that is not finite changes nothing', () => {
    const { optimization, gradient, values } = start();
    const before = values();
    const broken = gradient([[Number.NaN, 1], []]);
    expect(optimization.apply(0, broken).gradNorm).toBeNaN();
    optimization.apply(0, { first: broken, second: broken, a: 1, b: 1 }, Number.POSITIVE_INFINITY);
    expect([values(), optimization.adamw.steps]).toEqual([before, [0, 0]]);
  });
});
