import { expect, test } from 'vitest';
import { pidLambda } from './pid.js';

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
