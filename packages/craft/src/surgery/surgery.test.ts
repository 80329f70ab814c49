import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  combine,
  combineGroups,
  type Products,
  type SurgerySettings,
  type SurgeryType,
  surgeryGroups,
} from './surgery.js';

const settings = (more: Partial<SurgerySettings>): SurgerySettings => ({
  ...{ surgery: 'projection', lambda: 0.5, mode: 'weighted', threshold: 0, metric: 'cosine' },
  ...{ retainScale: 1, cagradC: 0.5 },
  ...more,
});

type Vector = [number, number];
const dot = (x: Vector, y: Vector) => x[0] * y[0] + x[1] * y[1];
const products = (t: Vector, r: Vector): Products => ({ d: dot(t, r), T: dot(t, t), R: dot(r, r) });

/** The merged gradient itself. */
function merged(t: Vector, r: Vector, more: Partial<SurgerySettings>): Vector {
  const { a, b, norm } = combine(products(t, r), settings(more));
  const g: Vector = [a * t[0] + b * r[0], a * t[1] + b * r[1]];
  expect(norm).toBeCloseTo(Math.sqrt(dot(g, g)), 5);
  return g;
}
const close = (g: Vector) => g.map((value) => expect.closeTo(value, 9));

// Against each other at 135 degrees; T = 2, R = 4, d = -2.
const [t, r]: [Vector, Vector] = [
  [1, 1],
  [-2, 0],
];

describe('values by hand', () => {
  test.each<[SurgeryType, Partial<SurgerySettings>, Vector]>([
    // g_t + ½ g_r
    ['none', {}, [0, 1]],
    // g_t' = (0, 1), plus ½ g_r
    ['projection', {}, [-1, 1]],
    // g_r' = g_r + (2/2) g_t = (-1, 1), half of it
    ['pcgrad', {}, [-0.5, 1.5]],
    ['pcgrad', { mode: 'equal' }, [-0.5, 1]],
    // The nearest to g_t with a product of 0; λ plays no part.
    ['agem', { lambda: 7 }, [0, 1]],
    ['cagrad', { cagradC: 0 }, [0, 1]],
  ])('%s %j', (surgery, more, expected) => {
    expect(merged(t, r, { surgery, ...more })).toEqual(close(expected));
  });

  test('CAGrad on orthogonal gradients of equal length: along their bisector, so the merged one grows by c', () => {
    // g0 = (½, ½), |g0| = 1/√2; g_w = (½, ½) too, so g = g0·(1 + c).
    const g = merged([1, 0], [0, 1], { surgery: 'cagrad', mode: 'equal', cagradC: 0.4 });
    expect(g).toEqual(close([0.7, 0.7]));
  });

  test('without a conflict every surgery but CAGrad merges as it is, and A-GEM keeps the task alone', () => {
    const [x, y]: [Vector, Vector] = [
      [1, 1],
      [2, 0],
    ];
    for (const surgery of ['none', 'projection', 'pcgrad'] as const)
      expect(merged(x, y, { surgery })).toEqual(close([2, 1]));
    expect(merged(x, y, { surgery: 'agem' })).toEqual(close([1, 1]));
  });

  test('the scale of K-step retention and merge modes reach every surgery', () => {
    expect(merged(t, r, { surgery: 'none', retainScale: 4 })).toEqual(close([-3, 1]));
    expect(merged(t, r, { surgery: 'none', lambda: 3, mode: 'task_priority' })).toEqual(close([-1, 1]));
  });

  test('task_priority: retention never weighs more than the task, K-step retention or not', () => {
    for (const [lambda, retainScale, weight] of [
      [1, 5, 1],
      [0.1, 5, 0.5],
      [0.4, 1, 0.4],
      [7, 1, 1],
    ] as const) {
      const { a, b } = combine(products(t, r), {
        surgery: 'none',
        mode: 'task_priority',
        lambda,
        retainScale,
      });
      expect([a, b]).toEqual([1, weight]);
    }
  });

  test('A-GEM conflicts where it projects, whatever the threshold says', () => {
    const close: Products = { d: -0.01, T: 1, R: 1 };
    for (const threshold of [-0.5, 2]) {
      expect(combine(close, settings({ surgery: 'agem', threshold }))).toMatchObject({
        ...{ a: 1, b: 0.01, conflict: true },
      });
      expect(combine({ ...close, d: 0.01 }, settings({ surgery: 'agem', threshold }))).toMatchObject({
        ...{ a: 1, b: 0, conflict: false },
      });
    }
  });

  test('a vanishing gradient is no conflict and divides nothing', () => {
    for (const surgery of ['none', 'projection', 'pcgrad', 'agem', 'cagrad'] as const) {
      expect(merged(t, [0, 0], { surgery }).every(Number.isFinite)).toBe(true);
      expect(merged([0, 0], [0, 0], { surgery })).toEqual(close([0, 0]));
    }
  });

  test('between retention steps: only the projection, nothing added', () => {
    const { a, b, conflict } = combine(products(t, r), { lambda: 0, threshold: 0 });
    expect([a, b, conflict]).toEqual([1, 0.5, true]);
    expect(combine(products(t, [2, 0]), { lambda: 0, threshold: 0 })).toMatchObject({
      a: 1,
      b: 0,
    });
  });
});

describe('properties', () => {
  const number = fc.double({ min: -10, max: 10, noNaN: true });
  const vector = fc.tuple(number, number).filter((v) => dot(v, v) > 1e-3);
  const tolerance = (x: Vector, y: Vector) => 1e-9 * (1 + dot(x, x) + dot(y, y)) ** 2;

  test('A-GEM and, above λ = 0, projection never oppose retention', () => {
    fc.assert(
      fc.property(vector, vector, fc.double({ min: 0, max: 5, noNaN: true }), (x, y, lambda) => {
        for (const surgery of ['agem', 'projection'] as const) {
          expect(dot(merged(x, y, { surgery, lambda }), y)).toBeGreaterThanOrEqual(-tolerance(x, y));
        }
      }),
    );
  });

  test('PCGrad is symmetric: exchanging the gradients exchanges nothing in an equal merge', () => {
    fc.assert(
      fc.property(vector, vector, (x, y) => {
        const one = merged(x, y, { surgery: 'pcgrad', mode: 'equal' });
        expect(merged(y, x, { surgery: 'pcgrad', mode: 'equal' })).toEqual(
          one.map((value) => expect.closeTo(value, 6)),
        );
      }),
    );
  });

  test('CAGrad stays within its radius and serves the worse-off at least as well as the merged gradient', () => {
    fc.assert(
      fc.property(vector, vector, fc.double({ min: 0, max: 0.9, noNaN: true }), (x, y, cagradC) => {
        const [g0, g] = [merged(x, y, { surgery: 'none' }), merged(x, y, { surgery: 'cagrad', cagradC })];
        const away: Vector = [g[0] - g0[0], g[1] - g0[1]];
        const radius = cagradC * Math.sqrt(dot(g0, g0));
        expect(Math.sqrt(dot(away, away))).toBeLessThanOrEqual(radius * (1 + 1e-6) + 1e-9);
        const worst = (v: Vector) => Math.min(dot(v, x), dot(v, y));
        expect(worst(g)).toBeGreaterThanOrEqual(worst(g0) - tolerance(x, y));
      }),
    );
  });

  test('CAGrad is the best of a fine search within its radius', () => {
    fc.assert(
      fc.property(vector, vector, (x, y) => {
        const g0 = merged(x, y, { surgery: 'none' });
        const g = merged(x, y, { surgery: 'cagrad' });
        const radius = 0.5 * Math.sqrt(dot(g0, g0));
        const worst = (v: Vector) => Math.min(dot(v, x), dot(v, y));
        const best = Math.max(
          ...Array.from({ length: 720 }, (_, i) => {
            const angle = (i * Math.PI) / 360;
            return worst([g0[0] + radius * Math.cos(angle), g0[1] + radius * Math.sin(angle)]);
          }),
        );
        expect(worst(g)).toBeGreaterThanOrEqual(best - 1e-6 * (1 + Math.abs(best)));
      }),
      { numRuns: 50 },
    );
  });
});

const NAMES = [
  'model.encoder.layers.0.self_attn.in_proj_weight',
  'model.encoder.layers.0.norm1.weight',
  'model.encoder.layers.1.norm1.weight',
  'model.backbone.layer1.0.conv1.weight',
  'model.action_head.weight',
  'model.action_head.bias',
];

test('groups', () => {
  expect(surgeryGroups(NAMES, 'model')).toEqual([0, 0, 0, 0, 0, 0]);
  expect(surgeryGroups(NAMES, 'module')).toEqual([0, 0, 1, 2, 3, 3]);
  expect(surgeryGroups(NAMES, 'tensor')).toEqual([0, 1, 2, 3, 4, 5]);
});

const decide = settings({ lambda: 1, cagradC: 0 });

// Two tensors: the first in conflict, the second not; over both the conflict cancels.
const TENSORS = [
  { d: -2, T: 2, R: 4 },
  { d: 3, T: 9, R: 1 },
];

test('conflicts that cancel in the whole are found tensor by tensor', () => {
  const whole = combineGroups(TENSORS, [0, 0], decide);
  expect(whole).toMatchObject({ d: 1, T: 11, R: 5, a: 1, b: 1, conflictShare: 0 });
  expect(whole.norm).toBeCloseTo(Math.sqrt(11 + 2 + 5), 12);
  const each = combineGroups(TENSORS, [0, 1], decide);
  // First: b = 1 + 2/4, |g|² = 2 − 2·1.5·2 + 1.5²·4 = 5; second: 9 + 6 + 1 = 16.
  expect(each).toMatchObject({ d: 1, a: [1, 1], b: [1.5, 1], conflictShare: 0.5 });
  expect(each.norm).toBeCloseTo(Math.sqrt(21), 12);
});
