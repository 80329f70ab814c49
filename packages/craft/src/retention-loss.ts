/**
 * How much is remembered: the loss on anchor data, which the constraint L_retain(θ) ≤ ε bounds.
 *
 * The general measure is the policy's own training loss on anchors: whatever the policy is trained by, the old task is held
 * by the same yardstick, and no teacher is needed. hidden-loss.ts compares features with a frozen teacher's instead.
 */
import { CraftError, type Tensor } from '@craft-ft/torch';

/** How the losses of a batch become one result. */
export type Reduction = 'mean' | 'sum' | 'none';

/** What a policy's forward pass returns in training. */
export interface LossOutput {
  /** A scalar (mean over the batch), or one loss per sample: [batch]. */
  loss: Tensor;
  /** Parts of the loss, for logs. */
  metrics: Record<string, Tensor | number>;
}

/** The part of a policy that retention needs. */
export interface LossPolicy {
  forward(batch: Record<string, Tensor>): LossOutput;
}

/** @throws CraftError `REDUCTION_UNKNOWN` */
export function checkReduction(reduction: Reduction): void {
  if (['mean', 'sum', 'none'].includes(reduction)) return;
  throw new CraftError('REDUCTION_UNKNOWN', `reduction ${reduction} is unknown; use mean, sum or none`);
}

/**
 * The retention loss: the policy's own forward pass on a batch of anchors.
 *
 * The batch has the format of the training data, processed alike. The policy keeps its training mode (dropout included) and
 * nothing is detached: `loss.backward()` gives the retention gradient. A policy that reports one loss per batch is taken to
 * report the mean; `sum` multiplies it by the batch size, and `none` is refused.
 *
 * @param policy anything with LeRobot's `forward(batch)`
 * @param anchorBatch tensors whose first dimension is the batch
 * @param reduction default `mean`; `none` keeps one loss per sample
 * @returns the reduced loss, and the policy's metrics as they are
 * @throws CraftError `REDUCTION_UNKNOWN`; `REDUCTION_UNSUPPORTED` for `none` where the policy reports no loss per sample;
 * `ANCHOR_BATCH_EMPTY` for `sum` on a batch without samples; `RETENTION_LOSS_SHAPE`
 *
 * @example
 * ```ts
 * const weight = torch.tensor([2], { requiresGrad: true });
 * const policy = { forward: (batch) => ({ loss: batch.x.mul(weight).square().mean(), metrics: {} }) };
 * const { loss } = computeRetentionLoss(policy, { x: torch.tensor([[1], [3]]) });
 * loss.item(); // 20
 * ```
 */
export function computeRetentionLoss(
  policy: LossPolicy,
  anchorBatch: Record<string, Tensor>,
  reduction: Reduction = 'mean',
): LossOutput {
  checkReduction(reduction);
  const { loss, metrics } = policy.forward(anchorBatch);
  if (loss.ndim > 1) {
    const found = `the policy returned a loss of shape [${loss.shape}]`;
    throw new CraftError('RETENTION_LOSS_SHAPE', `${found}; expected a scalar or one value per sample`);
  }
  if (loss.ndim === 1) return { loss: reduce(loss, reduction), metrics };
  if (reduction === 'none') {
    const remedy = 'let forward() return a loss of shape [batch], or use reduction mean';
    throw new CraftError('REDUCTION_UNSUPPORTED', `this policy reports one loss per batch: ${remedy}`);
  }
  return { loss: reduction === 'mean' ? loss : loss.mul(batchSize(anchorBatch)), metrics };
}

/** Reduces one loss per sample. */
export function reduce(losses: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return losses;
  return reduction === 'mean' ? losses.mean() : losses.sum();
}

function batchSize(batch: Record<string, Tensor>): number {
  const size =
    Object.values(batch)
      .find(({ ndim }) => ndim > 0)
      ?.size(0) ?? 0;
  if (size > 0) return size;
  throw new CraftError(
    'ANCHOR_BATCH_EMPTY',
    'the anchor batch holds no samples: check craft.anchor_dataset_path',
  );
}
