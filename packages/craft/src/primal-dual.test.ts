import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EpsilonScheduleType } from './config.js';
import { epsilonSchedule, updateLambda } from './primal-dual.js';

const schedules = fc.constantFrom<EpsilonScheduleType>('linear', 'cosine', 'exponential', 'constant');
const level = fc.double({ min: 0, max: 100, noNaN: true });
const steps = fc.integer({ min: 0, max: 2000 });

describe('epsilonSchedule', () => {
  test('halfway: linear and cosine meet, exponential is far ahead, constant has not moved', () => {
    const half = (type: EpsilonScheduleType) => epsilonSchedule(50, 1, 0, 100, type);
    expect(half('linear')).toBe(0.5);
    expect(half('cosine')).toBeCloseTo(0.5, 15);
    expect(half('exponential')).toBeCloseTo(Math.exp(-2.5), 15);
    expect(half('constant')).toBe(1);
  });

  test('no steps to decay over: the end value, but for constant', () => {
    expect(epsilonSchedule(0, 1, 0.1, 0, 'exponential')).toBe(0.1);
    expect(epsilonSchedule(0, 1, 0.1, 0, 'constant')).toBe(1);
  });

  test('stays within its ends, exactly', () => {
    fc.assert(
      fc.property(
        steps,
        level,
        level,
        fc.integer({ min: -1, max: 1000 }),
        schedules,
        (step, x, y, decay, type) => {
          const epsilon = epsilonSchedule(step, Math.max(x, y), Math.min(x, y), decay, type);
          expect(epsilon).toBeGreaterThanOrEqual(Math.min(x, y));
          expect(epsilon).toBeLessThanOrEqual(Math.max(x, y));
        },
      ),
    );
  });

  test('never rises from ε₀ down to ε₁', () => {
    fc.assert(
      fc.property(
        steps,
        steps,
        level,
        level,
        fc.integer({ min: 1, max: 1000 }),
        schedules,
        (s, t, x, y, decay, type) => {
          const at = (step: number) => epsilonSchedule(step, Math.max(x, y), Math.min(x, y), decay, type);
          expect(at(Math.max(s, t))).toBeLessThanOrEqual(at(Math.min(s, t)) + 1e-13);
        },
      ),
    );
  });

  test('unknown schedules are refused, inherited names too', () => {
    for (const type of ['step', 'toString']) {
      expect(() => epsilonSchedule(0, 1, 0, 0, type as 'linear')).toThrow(
        expect.objectContaining({ code: 'EPSILON_SCHEDULE_UNKNOWN' }),
      );
    }
  });
});

describe('updateLambda', () => {
  test('stays in [0, λ_max], whatever the loss', () => {
    const anyLoss = fc.oneof(fc.double({ noNaN: true }), fc.constantFrom(Infinity, -Infinity));
    const bound = fc.double({ min: 1e-6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(level, anyLoss, level, level, bound, (lambda, loss, epsilon, rate, max) => {
        const next = updateLambda(lambda, loss, epsilon, rate, max);
        expect(next).toBeGreaterThanOrEqual(0);
        expect(next).toBeLessThanOrEqual(max);
      }),
    );
  });

  test('rises exactly while the constraint is violated', () => {
    expect(updateLambda(1, 2, 1, 0.1, 10)).toBeGreaterThan(1);
    expect(updateLambda(1, 1, 1, 0.1, 10)).toBe(1);
    expect(updateLambda(1, 0, 1, 0.1, 10)).toBeLessThan(1);
  });

  test('an infinite loss clips, also with a step size of 0', () => {
    expect(updateLambda(1, Infinity, 1, 0.1, 10)).toBe(10);
    expect(updateLambda(1, Infinity, 1, 0, 10)).toBe(1);
  });

  test('NaN is refused', () => {
    const code = (name: string) => expect.objectContaining({ code: name });
    expect(() => updateLambda(1, Number.NaN, 1, 0, 10)).toThrow(code('RETENTION_LOSS_NAN'));
    expect(() => updateLambda(Number.NaN, 1, 1, 0.1, 10)).toThrow(code('LAMBDA_NAN'));
    expect(() => updateLambda(1, Infinity, Infinity, 0.1, 10)).toThrow(code('LAMBDA_NAN'));
  });

  // min ½(x − 3)² subject to ½x² ≤ ½: the optimum is x = 1, where x − 3 + λx = 0, so λ = 2.
  test('converges to the multiplier of a problem with a known optimum', () => {
    let [x, lambda] = [3, 0];
    for (let step = 0; step < 5000; step++) {
      const next = updateLambda(lambda, 0.5 * x * x, 0.5, 0.05, 10);
      x -= 0.05 * (x - 3 + lambda * x);
      lambda = next;
    }
    expect(x).toBeCloseTo(1, 6);
    expect(lambda).toBeCloseTo(2, 6);
  });
});
