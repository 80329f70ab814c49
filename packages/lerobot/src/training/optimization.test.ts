import { expect, test } from 'vitest';
import { makeSchedule } from './optimization.js';

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
