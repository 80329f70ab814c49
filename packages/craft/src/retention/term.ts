import type { Policy, TensorBatch } from '@craft-ft/policies';
import { CraftError, type Tensor } from '@craft-ft/torch';
import type { RetentionMode } from '../config.js';
import type { LossOutput } from '../retention-loss.js';

/** One way of measuring how much is remembered: a loss on a batch of anchors. */
export interface RetentionTerm {
  readonly mode: RetentionMode;
  /**
   * Whether the loss compares with targets that were computed without dropout, so that it has to be computed without too: forward and
   * backward pass run in evaluation mode then. Others leave the policy in the mode it is in.
   */
  readonly evaluation: boolean;
  /** What a teacher is asked for, where the batch brings no target; null where the term needs no teacher. */
  readonly target: RetentionTarget | null;
  /**
   * The loss with its graph, and its parts for the log.
   *
   * @param batch preprocessed anchors, with the target under its key
   * @throws CraftError where policy, batch and target do not go together
   */
  loss(policy: Policy, batch: TensorBatch): LossOutput;
  /**
   * Measures the scale of the teacher's targets, for losses that are fractions of it. Called before the first step where no anchor
   * cache says it.
   *
   * @param targets of several batches
   */
  calibrate?(targets: readonly Tensor[]): void;
  /** What `calibrate` found, for the checkpoint; null where there is nothing to keep. */
  state?(): unknown;
  /** @throws CraftError `CRAFT_STATE_INVALID` */
  restore?(state: unknown): void;
}

/** A teacher's answer to a batch. */
export interface RetentionTarget {
  /** Its key in an anchor batch, `anchor.hidden`. */
  readonly key: string;
  /** The same computation that the student is put through; called with the teacher's weights in place, without recording. */
  compute(policy: Policy, batch: TensorBatch): Tensor;
}

/**
 * @throws CraftError `ANCHOR_TARGET_MISSING`
 */
export function requireTarget(batch: TensorBatch, { key }: RetentionTarget, mode: RetentionMode): Tensor {
  const target = batch[key];
  if (target !== undefined) return target;
  throw new CraftError(
    'ANCHOR_TARGET_MISSING',
    `craft.retention_mode=${mode}: the anchors have no "${key}"; build the cache with --kinds=${mode}`,
  );
}
