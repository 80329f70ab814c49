import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { mergedInTraining } from '../../test/training-surgery.js';
import { computeDot, innerProducts, mergeGrads, projectIfConflict } from './grad-surgery.js';
import { cosine, type SurgerySettings } from './surgery.js';

const gradient = (...values: number[]) => [torch.tensor(values)];
const values = (list: readonly (Tensor | null)[]) => list.map((tensor) => tensor?.tolist() ?? null);

describe('gradient surgery, worked by hand', () => {
  // Scenario: both losses want the same direction. Expected: positive. Check: 1·2 + 2·4 + 3·6 = 28 = |a|·|2a|.
  test('dot of aligned gradients', () => {
    expect(computeDot(gradient(1, 2, 3), gradient(2, 4, 6))).toBe(28);
  });

  // Scenario: what helps one loss hurts the other. Expected: negative. Check: ⟨a, −a⟩ = −|a|² = −14.
  test('dot of conflicting gradients', () => {
    expect(computeDot(gradient(1, 2, 3), gradient(-1, -2, -3))).toBe(-14);
  });

  // Scenario: 45° apart. Expected: the task gradient passes through, as the very same tensor. Check: cos = 1/√2 > −0.1.
  test('no projection without conflict', () => {
    const task = gradient(1, 0);
    const { projected, conflict, cos } = projectIfConflict(task, gradient(1, 1), -0.1);
    expect(conflict).toBe(false);
    expect(cos).toBeCloseTo(Math.SQRT1_2, 10);
    expect(projected[0]).toBe(task[0]);
  });

  // Scenario: 135° apart. Expected: the part along g_r is gone, and both inputs are as before.
  // Check: d = −1, R = 2, so g_t' = (1, 0) + ½·(−1, 1) = (½, ½), and ⟨(½, ½), (−1, 1)⟩ = 0.
  test('projection on conflict', () => {
    const [task, retain] = [gradient(1, 0), gradient(-1, 1)];
    const { projected, ...found } = projectIfConflict(task, retain, -0.1);
    expect(values(projected)).toEqual([[0.5, 0.5]]);
    expect(computeDot(projected, retain)).toBe(0);
    expect(found).toEqual({
      conflict: true,
      dot: -1,
      cos: expect.closeTo(-Math.SQRT1_2, 10),
      normSqTask: 1,
      normSqRetain: 2,
    });
    expect([values(task), values(retain)]).toEqual([[[1, 0]], [[-1, 1]]]);
  });

  // Scenario: λ = 0.5. Expected: g_t + 0.5·g_r. Check: (1 + 0.5·4, 2 + 0.5·6) = (3, 5).
  test('weighted merge', () => {
    expect(values(mergeGrads(gradient(1, 2), gradient(4, 6), 0.5, 'weighted'))).toEqual([[3, 5]]);
  });

  // Scenario: the mean, whatever λ. Expected: ½·(g_t + g_r). Check: ((1 + 4)/2, (2 + 6)/2) = (2.5, 4).
  test('equal merge', () => {
    expect(values(mergeGrads(gradient(1, 2), gradient(4, 6), 7, 'equal'))).toEqual([[2.5, 4]]);
  });

  // Scenario: a conflict over two parameters, projected and merged with λ = 2. Expected: a step that no longer increases
  // the retention loss. Check: d = −4, R = 5, g_t' = (2, 1; 0) + ⅘·(−2, 0; 1) = (0.4, 1; 0.8); g = g_t' + 2·g_r =
  // (−3.6, 1; 2.8), and ⟨g, g_r⟩ = 7.2 + 2.8 = 10 = λ·R.
  test('end to end', () => {
    const task = [torch.tensor([2, 1]), torch.tensor([0])];
    const retain = [torch.tensor([-2, 0]), torch.tensor([1])];
    const { projected, conflict } = projectIfConflict(task, retain, -0.1);
    expect(conflict).toBe(true);
    const merged = mergeGrads(projected, retain, 2, 'weighted');
    const [first, second] = merged.map((tensor) => tensor?.tolist() as number[]);
    expect([...first, ...second]).toEqual([-3.6, 1, 2.8].map((value) => expect.closeTo(value, 5)));
    expect(computeDot(merged, retain)).toBeCloseTo(10, 5);
  });
});

describe('missing gradients and thresholds', () => {
  test('missing on both sides stays missing, missing on one side is zero', () => {
    const task = [torch.tensor([2]), null, null];
    const retain = [null, torch.tensor([4]), null];
    expect(computeDot(task, retain)).toBe(0);
    expect(values(mergeGrads(task, retain, 0.5, 'weighted'))).toEqual([[2], [2], null]);
    expect(values(mergeGrads(task, retain, 3, 'task_priority'))).toEqual([[2], [4], null]);
    expect(values(mergeGrads(task, retain, 3, 'equal'))).toEqual([[1], [2], null]);
  });

  test('a threshold of 0 projects on any opposition, one above 1 always', () => {
    const [task, retain] = [gradient(1, 1), gradient(-0.01, 1)];
    expect(projectIfConflict(gradient(1, 0), retain, -0.1).conflict).toBe(false);
    expect(projectIfConflict(gradient(1, 0), retain, 0).conflict).toBe(true);
    expect(projectIfConflict(task, retain, 0).conflict).toBe(false);
    const { projected } = projectIfConflict(task, retain, 2);
    expect(computeDot(projected, retain)).toBeCloseTo(0, 6);
  });

  test('exactly at the threshold is no conflict', () => {
    const [task, retain] = [gradient(1, 0), gradient(0, 1)];
    expect(projectIfConflict(task, retain, 0, { metric: 'dot' }).conflict).toBe(false);
    expect(projectIfConflict(task, gradient(-2, 1), -2, { metric: 'dot' }).conflict).toBe(false);
  });

  test('results are new tensors, and nothing else is left behind', () => {
    const [task, retain] = [gradient(1, 0), [null]];
    const before = torch.memory().tensors;
    const merged = mergeGrads(task, retain, 1);
    expect(merged[0]).not.toBe(task[0]);
    projectIfConflict(task, gradient(-1, 0), 0);
    expect(torch.memory().tensors - before).toBe(3); // merged, the second retain gradient, and the projection
  });

  test.each([
    ['lengths', [torch.tensor([1])], []],
    ['shapes', [torch.tensor([1])], [torch.tensor([1, 2])]],
  ])('different %s are refused', (_what, task, retain) => {
    const mismatch = expect.objectContaining({ code: 'GRADS_MISMATCH' });
    expect(() => computeDot(task, retain)).toThrow(mismatch);
    expect(() => projectIfConflict(task, retain)).toThrow(mismatch);
    expect(() => mergeGrads(task, retain, 1)).toThrow(mismatch);
  });

  test('an unknown metric is refused', () => {
    const unknown = expect.objectContaining({ code: 'CONFLICT_METRIC_UNKNOWN' });
    expect(() => projectIfConflict([], [], 0, { metric: 'angle' as 'dot' })).toThrow(unknown);
  });
});

// d = −2, T = 2, R = 4, cos = −1/√2; projected g_t' = (0, 1).
const task = () => gradient(1, 1);
const retain = gradient(-2, 0);
const train = (settings: SurgerySettings, t = task(), r = retain) => mergedInTraining(t, r, settings);

describe('as training runs it', () => {
  test.each([
    ['weighted', 3, { a: 1, b: 3.5, norm: Math.sqrt(37) }, [-6, 1]],
    ['equal', 3, { a: 0.5, b: 0.75, norm: Math.sqrt(1.25) }, [-1, 0.5]],
    ['task_priority', 3, { a: 1, b: 1.5, norm: Math.sqrt(5) }, [-2, 1]],
    ['task_priority', 0.25, { a: 1, b: 0.75, norm: Math.sqrt(1.25) }, [-0.5, 1]],
  ] as const)('%s with λ = %d: projection folds into b', (mode, lambda, { a, b, norm }, expected) => {
    const { cut, merged } = train({ lambda, mode });
    expect(cut).toMatchObject({ d: -2, T: 2, R: 4, conflictShare: 1, a, b });
    expect(cut.norm).toBeCloseTo(norm, 12);
    expect(values(merged)).toEqual([expected.map((value) => expect.closeTo(value, 6))]);
  });

  test('without projection the conflict is reported and the merge is plain', () => {
    expect(train({ lambda: 3, surgery: 'none' }).cut).toMatchObject({ conflictShare: 1, a: 1, b: 3 });
  });

  test('retainScale multiplies the retention side, not the projection; in task_priority up to the weight of the task', () => {
    const cut = (mode: 'weighted' | 'equal' | 'task_priority') =>
      train({ lambda: 3, mode, retainScale: 5 }).cut;
    expect(cut('weighted')).toMatchObject({ a: 1, b: 15.5 });
    expect(cut('equal')).toMatchObject({ a: 0.5, b: 2.75 });
    expect(cut('task_priority')).toMatchObject({ a: 1, b: 1.5 });
  });

  test('a retention gradient of zero leaves the task gradient alone', () => {
    const { cut } = train({ lambda: 1, threshold: 2 }, task(), [torch.zeros([2])]);
    expect(cut).toMatchObject({ conflictShare: 0, a: 1, b: 1, norm: Math.SQRT2 });
    expect(cosine(cut)).toBe(0);
  });

  test('opposite gradients with λ = 0: the norm is zero, not NaN', () => {
    const noisy = torch.randn([1000]);
    const { norm, T } = train({ lambda: 0 }, [noisy], [noisy.neg()]).cut;
    expect(norm).toBeLessThan(1e-7 * Math.sqrt(T));
  });

  test('an overflowed gradient makes the norm NaN and no conflict', () => {
    const { cut } = train({ lambda: 0 }, task(), gradient(Number.NaN, 0));
    expect(cut).toMatchObject({ conflictShare: 0, norm: Number.NaN });
  });

  test('an unknown mode is refused', () => {
    const unknown = expect.objectContaining({ code: 'PROJECTION_MODE_UNKNOWN' });
    expect(() => train({ lambda: 1, mode: 'sum' as 'equal' })).toThrow(unknown);
  });
});

describe('inner products', () => {
  test('chunk boundaries: every element counts once', () => {
    for (const size of [1, 32_767, 32_768, 32_769, 65_536, 100_003]) {
      const ones = torch.ones([size]);
      expect(innerProducts([ones], [ones.mul(2)])).toEqual({ d: 2 * size, T: size, R: 4 * size });
    }
  });

  test('accumulates in float64: a small term survives beside a large one, in every dtype', () => {
    for (const dtype of ['float32', 'float64', 'bfloat16'] as const) {
      const a = torch.tensor([4096, 1], { dtype });
      expect(innerProducts([a], [a]).d).toBe(2 ** 24 + 1);
    }
  });

  test('non-contiguous, scalar and empty gradients', () => {
    const a = torch.arange(0, 6).to('float32').view([2, 3]);
    const list = [a.t(), torch.tensor(2), torch.zeros([0, 3])];
    expect(innerProducts(list, list)).toEqual({ d: 59, T: 59, R: 59 });
  });

  test('missing sides, also all of them', () => {
    const three = torch.tensor([3]);
    expect(innerProducts([three, null], [null, three])).toEqual({ d: 0, T: 9, R: 9 });
    expect(innerProducts([null], [null])).toEqual({ d: 0, T: 0, R: 0 });
    expect(innerProducts([], [])).toEqual({ d: 0, T: 0, R: 0 });
  });

  test('a gradient that overflowed shows', () => {
    const products = innerProducts([torch.tensor([Number.NaN, 1])], [torch.tensor([1, 1])]);
    expect([products.d, products.T, products.R]).toEqual([Number.NaN, Number.NaN, 2]);
  });
});
