import { expect, it } from 'vitest';
import { wilsonInterval } from './wilson.js';

it('wilsonInterval: the textbook values', () => {
  // R: binom::binom.confint(8, 10, methods = "wilson")
  const [low, high] = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.4901625, 6);
  expect(high).toBeCloseTo(0.9433178, 6);
  expect(wilsonInterval(0, 10)[0]).toBe(0);
  expect(wilsonInterval(0, 10)[1]).toBeCloseTo(0.2775328, 6);
  expect(wilsonInterval(10, 10)[1]).toBeCloseTo(1, 12);
  expect(wilsonInterval(0, 0)).toEqual([0, 1]);
});
