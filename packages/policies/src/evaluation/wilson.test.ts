import fc from 'fast-check';
import { expect, it } from 'vitest';
import { wilsonInterval } from './wilson.js';

it('the textbook values', () => {
  // R: binom::binom.confint(8, 10, methods = "wilson")
  const [low, high] = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.4901625, 6);
  expect(high).toBeCloseTo(0.9433178, 6);
  expect(wilsonInterval(0, 10)[1]).toBeCloseTo(0.2775328, 6);
  expect(wilsonInterval(0, 0)).toEqual([0, 1]);
});

it('bounds in [0, 1] around the rate', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(), (trials, n) => {
      const successes = n % (trials + 1);
      const rate = successes / trials;
      const [low, high] = wilsonInterval(successes, trials);
      expect(low).toBeGreaterThanOrEqual(0);
      expect(high).toBeLessThanOrEqual(1);
      expect(low).toBeLessThanOrEqual(rate);
      expect(high).toBeGreaterThanOrEqual(rate);
    }),
  );
});
