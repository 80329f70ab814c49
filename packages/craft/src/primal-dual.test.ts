import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EpsilonScheduleType } from './dual-state.js';
import { epsilonSchedule, pidLambda, updateLambda } from './primal-dual.js';

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

describe('PID control', () => {
  const start = { integral: 1, smoothed: null };

  test('proportional, integral and derivative part add up', () => {
    const gains = { kp: 2, ki: 0.5, kd: 3, smoothing: 0 };
    const first = pidLambda(start, 1.5, 1, gains, 100);
    // No rise is known yet: 2·0.5 + (1 + 0.5·0.5).
    expect(first).toEqual({ lambda: 2.25, memory: { integral: 1.25, smoothed: 1.5 } });
    const rise = pidLambda(first.memory, 2, 1, gains, 100);
    expect(rise).toEqual({ lambda: 2 * 1 + 1.75 + 3 * 0.5, memory: { integral: 1.75, smoothed: 2 } });
    const fall = pidLambda(rise.memory, 1, 1, gains, 100);
    expect(fall.lambda).toBe(1.75);
  });

  test('smoothing touches what the proportional and the derivative part see, not the sum', () => {
    const { lambda, memory } = pidLambda(
      { integral: 0, smoothed: 1 },
      3,
      1,
      { kp: 1, ki: 1, kd: 1, smoothing: 0.5 },
      100,
    );
    expect(memory).toEqual({ integral: 2, smoothed: 2 });
    expect(lambda).toBe(1 + 2 + 1);
  });

  test('bounds hold for λ and for its sum, which cannot wind up', () => {
    const gains = { kp: 0, ki: 1, kd: 0, smoothing: 0 };
    let state = pidLambda(start, 50, 0, gains, 10);
    for (let i = 0; i < 5; i++) state = pidLambda(state.memory, 50, 0, gains, 10);
    expect([state.lambda, state.memory.integral]).toEqual([10, 10]);
    state = pidLambda(state.memory, 0, 3, gains, 10);
    expect(state.lambda).toBe(7);
    expect(pidLambda(start, 0, 50, gains, 10).lambda).toBe(0);
    expect(() => pidLambda(start, Number.NaN, 0, gains, 10)).toThrow('the retention loss is NaN');
  });
});
