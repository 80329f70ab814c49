import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergedInTraining } from '../../test/training-surgery.js';
import { computeDot, mergeGrads, projectIfConflict } from './grad-surgery.js';
import type { ProjectionMode } from './surgery.js';

type List = (Tensor | null)[];

interface Pair {
  task: List;
  retain: List;
}

const parameter = fc.record({
  shape: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
  task: fc.boolean(),
  retain: fc.boolean(),
});

/** Two gradients over the same parameters, with missing entries, of any scale and any angle. */
const pairs = fc
  .record({
    parameters: fc.array(parameter, { maxLength: 5 }),
    seed: fc.nat(),
    scales: fc.tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 })),
    lean: fc.double({ min: -3, max: 3, noNaN: true }),
  })
  .map(({ parameters, seed, scales, lean }): Pair => {
    torch.manualSeed(seed);
    const noise = () => parameters.map(({ shape }) => torch.randn(shape, { dtype: 'float64' }));
    const [first, second] = [noise(), noise()];
    const mixed = second.map((tensor, i) => tensor.add(first[i], { alpha: lean }));
    const side = (list: Tensor[], which: 'task' | 'retain', power: number) =>
      list.map((tensor, i) => (parameters[i][which] ? tensor.mul(10 ** power) : null));
    return { task: side(first, 'task', scales[0]), retain: side(mixed, 'retain', scales[1]) };
  });

const modes = fc.constantFrom<ProjectionMode>('weighted', 'equal', 'task_priority');
const lambdas = fc.double({ min: 0, max: 10, noNaN: true });
const thresholds = fc.constantFrom(-0.5, -0.1, 0, 2);
const metrics = fc.constantFrom('cosine' as const, 'dot' as const);

const check = (property: (pair: Pair) => void) =>
  fc.assert(fc.property(pairs, (pair) => torch.scope(() => property(pair))));

const always = { metric: 'dot' } as const;
const project = ({ task, retain }: Pair) => projectIfConflict(task, retain, Number.POSITIVE_INFINITY, always);

/** One vector of all parameters, zero where missing on this side only. */
const flatten = (list: List, other: List): Tensor => {
  const parts = list.map((tensor, i) => tensor ?? (other[i] === null ? null : torch.zerosLike(other[i])));
  return torch.cat([
    torch.zeros([0], { dtype: 'float64' }),
    ...parts.flatMap((part) => part?.flatten() ?? []),
  ]);
};

const length = (list: List) => Math.sqrt(Math.max(0, computeDot(list, list)));

function expectSame(actual: Tensor, expected: Tensor, scale: number) {
  expect(actual.shape).toEqual(expected.shape);
  const difference = actual.sub(expected).norm().item();
  expect(difference).toBeLessThanOrEqual(1e-12 * scale);
}

describe('projection', () => {
  test('is orthogonal to the retention gradient', () => {
    check((pair) => {
      const { projected, conflict } = project(pair);
      const scale = length(pair.task) * length(pair.retain);
      if (conflict) expect(Math.abs(computeDot(projected, pair.retain))).toBeLessThanOrEqual(1e-12 * scale);
    });
  });

  test('never lengthens', () => {
    check((pair) => {
      expect(length(project(pair).projected)).toBeLessThanOrEqual(length(pair.task) * (1 + 1e-12));
    });
  });

  test('is idempotent', () => {
    check((pair) => {
      const once = project(pair).projected;
      const twice = project({ task: once, retain: pair.retain }).projected;
      const scale = length(pair.task) + 1e-300;
      expectSame(flatten(twice, pair.retain), flatten(once, pair.retain), scale);
    });
  });

  test('with the cosine metric, the decision does not depend on the scale of either gradient', () => {
    check(({ task, retain }) => {
      const { conflict, normSqTask, normSqRetain } = projectIfConflict(task, retain);
      const larger = retain.map((tensor) => tensor?.mul(1024) ?? null);
      if (normSqRetain > 1e-9 && normSqTask > 1e-9) {
        expect(projectIfConflict(task, larger).conflict).toBe(conflict);
      }
    });
  });
});

describe('merge', () => {
  test('is linear in both gradients', () => {
    fc.assert(
      fc.property(
        pairs,
        modes,
        lambdas,
        fc.double({ min: -4, max: 4, noNaN: true }),
        (pair, mode, lambda, factor) =>
          torch.scope(() => {
            const { task, retain } = pair;
            const merge = (left: List, right: List) =>
              flatten(
                mergeGrads(left, right, lambda, mode),
                left.map((tensor, i) => tensor ?? right[i]),
              );
            const zero = (list: List) => list.map((tensor) => tensor?.mul(0) ?? null);
            const scaled = (list: List) => list.map((tensor) => tensor?.mul(factor) ?? null);
            const sum = merge(task, zero(retain)).add(merge(zero(task), retain));
            const scale = (1 + lambda) * (1 + Math.abs(factor)) * (length(task) + length(retain));
            expectSame(merge(task, retain), sum, scale);
            expectSame(merge(scaled(task), scaled(retain)), sum.mul(factor), scale);
          }),
      ),
    );
  });
});

describe('lists and what training runs', () => {
  test('agree in every setting, and the norm is that of the merged gradient', () => {
    fc.assert(
      fc.property(pairs, modes, lambdas, thresholds, metrics, (pair, mode, lambda, threshold, metric) =>
        torch.scope(() => {
          const { task, retain } = pair;
          const lists = projectIfConflict(task, retain, threshold, { metric });
          const merged = mergeGrads(lists.projected, retain, lambda, mode);
          const reached = task.some((grad, i) => (grad ?? retain[i]) !== null);
          if (!reached) return;
          const trained = mergedInTraining(task, retain, { lambda, mode, threshold, metric });
          expect(trained.cut.conflictShare).toBe(lists.conflict ? 1 : 0);
          expect(trained.cut.d).toBeCloseTo(lists.dot, 6);
          const scale = length(task) + (1 + lambda) * length(retain);
          const result = flatten(trained.merged, trained.merged);
          expectSame(result, flatten(merged, merged), scale);
          expect(Math.abs(trained.cut.norm - result.norm().item())).toBeLessThanOrEqual(1e-7 * scale);
        }),
      ),
    );
  });

  test('the order of the parameters changes nothing beyond rounding', () => {
    check(({ task, retain }) => {
      const forward = projectIfConflict(task, retain, 0);
      const backward = projectIfConflict(task.toReversed(), retain.toReversed(), 0);
      const scale = 1e-12 * length(task) * length(retain);
      expect(Math.abs(forward.dot - backward.dot)).toBeLessThanOrEqual(scale);
      if (Math.abs(forward.dot) <= scale) return; // the sign itself is rounding
      expect(backward.conflict).toBe(forward.conflict);
      expectSame(
        flatten(backward.projected.toReversed(), retain),
        flatten(forward.projected, retain),
        length(task),
      );
    });
  });
});
