import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import { expect } from 'vitest';
import {
  mergeGrads,
  type ProjectionMode,
  poolHiddenStates,
  projectIfConflict,
  updateLambda,
} from '../src/index.js';
import { expectAllClose, expectClose, type GoldenCase } from './golden-cases.js';

type List = (Tensor | null)[];

/** A case that records a defect of the original, and what holds here instead. */
interface Deviation {
  reason: string;
  check(golden: GoldenCase): void;
}

const lists = ({ args }: GoldenCase) => [args.grad_task, args.grad_retain] as [List, List];

const zeroWhereMissing = (list: List, other: List): List =>
  list.map((tensor, i) => tensor ?? (other[i] === null ? null : torch.zerosLike(other[i])));

/** Missing entries give what explicit zeros give, and what is missing on one side only is not dropped. */
function checkMerge(golden: GoldenCase) {
  const [task, retain] = lists(golden);
  const lambda = golden.args.lambda_weight as number;
  const mode = golden.args.mode as ProjectionMode;
  const merged = mergeGrads(task, retain, lambda, mode);
  const weight = { weighted: lambda, equal: 0.5, task_priority: Math.min(lambda, 1) }[mode];
  expectClose(merged[0], (retain[0] as Tensor).mul(weight), 1e-6);
  expectClose(merged[1], (golden.expected.merged as List)[1] as Tensor, 1e-6);
  expectClose(merged[2], (task[2] as Tensor).mul(mode === 'equal' ? 0.5 : 1), 1e-6);
  const zeros = mergeGrads(zeroWhereMissing(task, retain), zeroWhereMissing(retain, task), lambda, mode);
  expectAllClose(merged, zeros as List, 0);
}

const dropped: Deviation = {
  reason:
    'the original drops a gradient without a partner (task missing) or passes it unscaled; here it counts as zero',
  check: checkMerge,
};

function checkMissingProjection(golden: GoldenCase) {
  const [task, retain] = lists(golden);
  const { dot, norm_sq_retain } = golden.expected as Record<string, number>;
  const upstream = golden.expected.forced_projection as List;
  for (const metric of ['dot', 'cosine'] as const) {
    const { projected, conflict, ...found } = projectIfConflict(task, retain, -0.1, { metric });
    expect(conflict).toBe(true);
    expect(found.dot).toBeCloseTo(dot, 5);
    expect(found.normSqRetain).toBeCloseTo(norm_sq_retain, 4);
    expectClose(projected[0], (retain[0] as Tensor).mul(-found.dot / found.normSqRetain), 1e-6);
    expectClose(projected[1], task[1] as Tensor, 0);
    expectClose(projected[2], upstream[2] as Tensor, 1e-6);
    const after = projectIfConflict(projected, retain, 0).dot;
    expect(Math.abs(after)).toBeLessThan(1e-6 * Math.sqrt(found.normSqTask * found.normSqRetain));
  }
}

const hiddenAndMask = ({ args }: GoldenCase) => [args.hidden_states, args.attention_mask] as [Tensor, Tensor];

/** The last position of each row that its mask marks; null where none is. */
function checkLastToken(golden: GoldenCase, last: (number | null)[]) {
  const [hidden, mask] = hiddenAndMask(golden);
  const rows = last.map((position, row) =>
    position === null ? torch.zeros([hidden.size(2)]) : hidden.select(0, row).select(0, position),
  );
  expectClose(poolHiddenStates(hidden, mask, 'last_token'), torch.stack(rows), 0);
}

/** By case id. */
export const deviations: Record<string, Deviation> = {
  merge_missing_weighted: dropped,
  merge_missing_equal: dropped,
  merge_missing_task_priority: dropped,
  project_with_missing: {
    reason:
      'the original leaves a missing task gradient missing, so the result is not orthogonal to retention',
    check: checkMissingProjection,
  },
  lambda14: {
    reason: 'a NaN retention loss turns λ into 0 and protection off; here it is an error',
    check: ({ args }) => {
      const { current_lambda, retention_loss, epsilon, lambda_lr, lambda_max } = args as Record<
        string,
        number
      >;
      expect(() => updateLambda(current_lambda, retention_loss, epsilon, lambda_lr, lambda_max)).toThrow(
        expect.objectContaining({ code: 'RETENTION_LOSS_NAN' }),
      );
    },
  },
  pool_image_default: {
    reason: 'the original assumes 196 image tokens when it does not know; here their number must be given',
    check: (golden) => {
      const [hidden, mask] = hiddenAndMask(golden);
      const imageTokens = golden.expected.num_image_tokens as number;
      const pooled = poolHiddenStates(hidden, mask, 'mean_image_tokens', { imageTokens });
      expectClose(pooled, golden.expected.pooled as Tensor, 1e-6);
      expect(() => poolHiddenStates(hidden, mask, 'mean_image_tokens')).toThrow(
        expect.objectContaining({ code: 'IMAGE_TOKENS' }),
      );
    },
  },
  pool_image_more_than_sequence: {
    reason: 'more image tokens than the sequence has silently mean all of it; here that is an error',
    check: (golden) => {
      const imageTokens = golden.expected.num_image_tokens as number;
      const [hidden, mask] = hiddenAndMask(golden);
      expect(() => poolHiddenStates(hidden, mask, 'mean_image_tokens', { imageTokens })).toThrow(
        expect.objectContaining({ code: 'IMAGE_TOKENS' }),
      );
    },
  },
  pool_last_empty_row: {
    reason: 'a row without tokens takes the last position, a pad; here it pools to zero, as in mean_masked',
    check: (golden) => checkLastToken(golden, [null, 4, 2]),
  },
  pool_last_left_padding: {
    reason: 'the original counts the tokens, which with padding on the left is not the last one',
    check: (golden) => checkLastToken(golden, [6, 5, 3]),
  },
};
