import * as torch from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { applyMerge_, surgery } from './flat-surgery.js';

// d = −2, T = 2, R = 4, cos = −1/√2; projected g_t' = (0, 1).
const task = () => torch.tensor([1, 1]);
const retain = torch.tensor([-2, 0]);

describe('surgery on flat buffers', () => {
  test.each([
    ['weighted', 3, { a: 1, b: 3.5, norm: Math.sqrt(37) }, [-6, 1]],
    ['equal', 3, { a: 0.5, b: 0.75, norm: Math.sqrt(1.25) }, [-1, 0.5]],
    ['task_priority', 3, { a: 1, b: 1.5, norm: Math.sqrt(5) }, [-2, 1]],
    ['task_priority', 0.25, { a: 1, b: 0.75, norm: Math.sqrt(1.25) }, [-0.5, 1]],
  ] as const)('%s with λ = %d: projection folds into b', (mode, lambda, coefficients, merged) => {
    const flat = task();
    const result = surgery(flat, retain, { lambda, mode });
    expect(result).toMatchObject({ d: -2, T: 2, R: 4, conflict: true, a: coefficients.a, b: coefficients.b });
    expect(result.norm).toBeCloseTo(coefficients.norm, 12);
    expect(flat.tolist()).toEqual([1, 1]);
    expect(applyMerge_(flat, retain, result.a, result.b)).toBe(flat);
    expect(flat.tolist()).toEqual(merged);
    expect(retain.tolist()).toEqual([-2, 0]);
  });

  test('without projection the conflict is reported and the merge is plain', () => {
    expect(surgery(task(), retain, { lambda: 3, project: false })).toMatchObject({
      conflict: true,
      a: 1,
      b: 3,
    });
  });

  test('retainScale multiplies the retention side in every mode, not the projection', () => {
    const coefficients = (mode: 'weighted' | 'equal' | 'task_priority') =>
      surgery(task(), retain, { lambda: 3, mode, retainScale: 5 });
    expect(coefficients('weighted')).toMatchObject({ a: 1, b: 15.5 });
    expect(coefficients('equal')).toMatchObject({ a: 0.5, b: 2.75 });
    expect(coefficients('task_priority')).toMatchObject({ a: 1, b: 5.5 });
  });

  test('a retention gradient of zero leaves the task gradient alone', () => {
    const result = surgery(task(), torch.zeros([2]), { lambda: 1, threshold: 2 });
    expect(result).toMatchObject({ conflict: false, a: 1, b: 1, cos: 0, norm: Math.SQRT2 });
  });

  test('opposite gradients with λ = 0: the norm is zero, not NaN', () => {
    const noisy = torch.randn([1000]);
    const { norm, T } = surgery(noisy, noisy.neg(), { lambda: 0 });
    expect(norm).toBeLessThan(1e-7 * Math.sqrt(T));
  });

  test('an overflowed gradient makes the norm NaN and no conflict', () => {
    const result = surgery(task(), torch.tensor([Number.NaN, 0]), { lambda: 0 });
    expect(result).toMatchObject({ conflict: false, norm: Number.NaN });
  });

  test('an unknown mode is refused', () => {
    const unknown = expect.objectContaining({ code: 'PROJECTION_MODE_UNKNOWN' });
    expect(() => surgery(task(), retain, { lambda: 1, mode: 'sum' as 'equal' })).toThrow(unknown);
  });
});
