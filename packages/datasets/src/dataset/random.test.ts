import { describe, expect, it } from 'vitest';
import { Sfc32 } from './random.js';

const many = (seed: number, stream?: number) => {
  const random = new Sfc32(seed, stream);
  return Array.from({ length: 4000 }, () => random.uniform());
};

describe('Sfc32', () => {
  it('gives the same numbers for a seed, others for another seed or stream', () => {
    expect(many(5)).toEqual(many(5));
    expect(many(5)[0]).not.toBe(many(6)[0]);
    expect(many(5, 1)[0]).not.toBe(many(5)[0]);
  });

  it('keeps its numbers: the starts of the worlds depend on them', () => {
    const random = new Sfc32(1000, 1);
    expect(Array.from({ length: 4 }, () => random.next())).toEqual([
      1012742880, 56746428, 3345151460, 2377068401,
    ]);
  });

  it('is uniform and normal', () => {
    const values = many(1);
    expect(values.reduce((a, b) => a + b) / values.length).toBeCloseTo(0.5, 1);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    const random = new Sfc32(2);
    const normal = Array.from({ length: 4000 }, () => random.normal());
    const variance = normal.reduce((sum, value) => sum + value * value, 0) / normal.length;
    expect(variance).toBeGreaterThan(0.9);
    expect(variance).toBeLessThan(1.1);
  });
});
