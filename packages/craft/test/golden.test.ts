import * as torch from '@craft-ft/torch';
import { CraftError, type Tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import {
  type ConflictMetric,
  computeDot,
  computeHiddenRetentionLoss,
  cosine,
  type EpsilonScheduleType,
  epsilonSchedule,
  type HiddenLossType,
  mergeGrads,
  type Pooling,
  type ProjectionMode,
  poolHiddenStates,
  projectIfConflict,
  type Reduction,
  updateLambda,
} from '../src/index.js';
import { innerProducts } from '../src/surgery/grad-surgery.js';
import {
  expectAllClose,
  expectClose,
  expectNumber,
  type GoldenCase,
  largest,
  loadGoldenCases,
  tolerance,
} from './golden-cases.js';
import { deviations } from './golden-deviations.js';
import { mergedInTraining } from './training-surgery.js';

type List = (Tensor | null)[];

const flat = (list: List) => torch.cat(list.map((tensor) => (tensor as Tensor).flatten()));

function compareDot(golden: GoldenCase) {
  const { grad1, grad2 } = golden.args as Record<string, List>;
  const { dot, cos, norm_sq1, norm_sq2 } = golden.expected as Record<string, number>;
  const products = innerProducts(grad1, grad2);
  expectNumber(computeDot(grad1, grad2), dot, tolerance(golden), Math.sqrt(products.T * products.R));
  if (cos !== undefined) expectNumber(cosine(products), cos, 1e-6, 1);
  if (norm_sq1 !== undefined) expectNumber(products.T, norm_sq1, tolerance(golden));
  if (norm_sq2 !== undefined) expectNumber(products.R, norm_sq2, tolerance(golden));
}

interface Reading {
  conflict: boolean;
  projected_task: List;
}

// In these two the projected gradient is rounding noise, so it is measured by the gradient it came from.
const VANISHING = ['project_exact_opposite', 'project_tiny_opposite'];

function compareProjection(golden: GoldenCase) {
  const { grad_task, grad_retain, conflict_threshold } = golden.args;
  const [task, retain] = [grad_task as List, grad_retain as List];
  const { dot, cos, norm_sq_task, norm_sq_retain } = golden.expected as Record<string, number>;
  const scale = VANISHING.includes(golden.id) ? largest(flat(task)) : undefined;
  const readings: [ConflictMetric, unknown][] = [
    ['dot', golden.expected.raw_dot_reading],
    ['cosine', golden.expected.cosine_reading],
  ];
  for (const [metric, reading] of readings) {
    const threshold = conflict_threshold as number;
    const { conflict, projected_task } = reading as Reading;
    const result = projectIfConflict(task, retain, threshold, { metric });
    expect(result.conflict).toBe(conflict);
    expectAllClose(result.projected, projected_task, tolerance(golden), scale);
    expectNumber(result.dot, dot, tolerance(golden), Math.sqrt(norm_sq_task * norm_sq_retain));
    expectNumber(result.cos, cos, 1e-6, 1);
    expectNumber(result.normSqTask, norm_sq_task, tolerance(golden));
    expectNumber(result.normSqRetain, norm_sq_retain, tolerance(golden));
    const { cut, merged } = mergedInTraining(task, retain, { lambda: 0, threshold, metric });
    expect(cut.conflictShare).toBe(conflict ? 1 : 0);
    expectAllClose(merged, projected_task, tolerance(golden), scale);
  }
  const forced = golden.expected.forced_projection as List | undefined;
  if (forced === undefined) return;
  const { projected } = projectIfConflict(task, retain, Number.POSITIVE_INFINITY, { metric: 'dot' });
  expectAllClose(projected, forced, tolerance(golden), scale);
  const noise = tolerance(golden) * Math.sqrt(norm_sq_task * norm_sq_retain);
  expect(Math.abs(computeDot(projected, retain))).toBeLessThanOrEqual(noise);
}

const merge = ({ args }: GoldenCase) =>
  mergeGrads(
    args.grad_task as List,
    args.grad_retain as List,
    args.lambda_weight as number,
    args.mode as ProjectionMode,
  );

function compareMerge(golden: GoldenCase) {
  const expected = golden.expected.merged as List;
  expectAllClose(merge(golden), expected, tolerance(golden));
  const { merged } = mergedInTraining(golden.args.grad_task as List, golden.args.grad_retain as List, {
    surgery: 'none',
    lambda: golden.args.lambda_weight as number,
    mode: golden.args.mode as ProjectionMode,
  });
  expectAllClose(merged, expected, tolerance(golden));
}

function epsilons({ args }: GoldenCase): number[] {
  const { epsilon_start, epsilon_end, decay_steps } = args as Record<string, number>;
  const type = args.schedule_type as EpsilonScheduleType;
  const steps = (args.steps ?? [0]) as number[];
  return steps.map((step) => epsilonSchedule(step, epsilon_start, epsilon_end, decay_steps, type));
}

function compareEpsilon(golden: GoldenCase) {
  const actual = epsilons(golden);
  (golden.expected.epsilon as number[]).forEach((value, i) => {
    expectNumber(actual[i], value, 1e-12, 1);
  });
}

function lambda({ args }: GoldenCase): number {
  const { current_lambda, retention_loss, epsilon, lambda_lr, lambda_max } = args as Record<string, number>;
  return updateLambda(current_lambda, retention_loss, epsilon, lambda_lr, lambda_max);
}

function hiddenLoss({ args }: GoldenCase, student = args.student_hidden as Tensor): Tensor {
  const [type, reduction] = [args.loss_type as HiddenLossType, args.reduction as Reduction];
  return computeHiddenRetentionLoss(student, args.teacher_hidden as Tensor, type, reduction);
}

function compareHiddenLoss(golden: GoldenCase) {
  const student = (golden.args.student_hidden as Tensor).clone().requiresGrad_();
  const loss = hiddenLoss(golden, student);
  expect(loss.dtype).toBe('float32');
  expectClose(loss, golden.expected.loss as Tensor, 1e-6);
  loss.sum().backward();
  const gradient = golden.expected.grad_student_of_summed_loss as Tensor | undefined;
  if (gradient !== undefined) expectClose(student.grad, gradient, 1e-6);
  else expect(largest(student.grad as Tensor)).toBeLessThan(Number.POSITIVE_INFINITY);
}

function pool({ args, expected }: GoldenCase): Tensor {
  const imageTokens = expected.num_image_tokens as number | undefined;
  const [hidden, mask] = [args.hidden_states as Tensor, args.attention_mask as Tensor];
  return poolHiddenStates(hidden, mask, args.pooling as Pooling, { imageTokens });
}

const functions: Record<string, { run(golden: GoldenCase): unknown; compare(golden: GoldenCase): void }> = {
  compute_dot: { run: compareDot, compare: compareDot },
  project_if_conflict: { run: compareProjection, compare: compareProjection },
  merge_grads: { run: merge, compare: compareMerge },
  epsilon_schedule: { run: epsilons, compare: compareEpsilon },
  update_lambda: {
    run: lambda,
    compare: (golden) => expectNumber(lambda(golden), golden.expected.lambda as number, 1e-12, 1),
  },
  compute_retention_loss_hidden: { run: hiddenLoss, compare: compareHiddenLoss },
  pool_hidden_states: {
    run: pool,
    compare: (golden) => expectClose(pool(golden), golden.expected.pooled as Tensor, tolerance(golden)),
  },
};

describe('golden numbers of the original', () => {
  const cases = loadGoldenCases();
  const compared = new Set<string>();

  for (const golden of cases.filter(({ id }) => !(id in deviations))) {
    test(golden.id, () => {
      compared.add(golden.id);
      const { run, compare } = functions[golden.fn];
      if (golden.expected.error === undefined) compare(golden);
      else expect(() => run(golden)).toThrow(CraftError);
    });
  }

  for (const [id, { reason, check }] of Object.entries(deviations)) {
    test(`${id} differs: ${reason}`, () => {
      compared.add(id);
      check(cases.find((golden) => golden.id === id) as GoldenCase);
    });
  }

  test('every case is compared, or listed as a deviation', () => {
    expect([...compared].sort()).toEqual(cases.map(({ id }) => id).sort());
  });
});
