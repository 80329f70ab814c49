import { describe, expect, it } from 'vitest';
import { Random } from './random.js';

const many = (seed: number, stream?: number) => {
  const random = new Random(seed, stream);
  return Array.from({ length: 4000 }, () => random.next());
};

describe('Random', () => {
  it('gives the same numbers for a seed, others for another seed or stream', () => {
    expect(many(5)).toEqual(many(5));
    expect(many(5)[0]).not.toBe(many(6)[0]);
    expect(many(5, 1)[0]).not.toBe(many(5)[0]);
  });

  it('is uniform and normal', () => {
    const values = many(1);
    expect(values.reduce((a, b) => a + b) / values.length).toBeCloseTo(0.5, 1);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    const random = new Random(2);
    const normal = Array.from({ length: 4000 }, () => random.normal());
    const variance = normal.reduce((sum, value) => sum + value * value, 0) / normal.length;
    expect(variance).toBeGreaterThan(0.9);
    expect(variance).toBeLessThan(1.1);
  });
});
