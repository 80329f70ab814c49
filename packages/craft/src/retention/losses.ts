/**
 * How much is remembered: the loss on anchor data, which the constraint L_retain(θ) ≤ ε bounds.
 *
 * The general measure is the policy's own training loss on anchors: whatever the policy is trained on, the old task is measured the same
 * way, and no teacher is needed. `computeHiddenRetentionLoss` compares features with a frozen teacher's instead.
 */
import type { PolicyOutput } from '@craft-ft/policies';
import { CraftError, cosineSimilarity, scope, type Tensor } from '@craft-ft/torch';

/** How the losses of a batch become one result. */
export type Reduction = 'mean' | 'sum' | 'none';

/** The part of a policy that retention needs. */
export interface LossPolicy {
  forward(batch: Record<string, Tensor>): PolicyOutput;
}

/** @throws CraftError `REDUCTION_UNKNOWN` */
function checkReduction(reduction: Reduction): void {
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
): PolicyOutput {
  checkReduction(reduction);
  const output = policy.forward(anchorBatch);
  const { loss, metrics } = output;
  if (loss.ndim > 1) {
    const found = `the policy returned a loss of shape [${loss.shape}]`;
    throw new CraftError('RETENTION_LOSS_SHAPE', `${found}; expected a scalar or one value per sample`);
  }
  if (loss.ndim === 1) return { loss: reduce(loss, reduction), metrics };
  if (reduction === 'none') {
    const remedy = 'let forward() return a loss of shape [batch], or use reduction mean';
    throw new CraftError('REDUCTION_UNSUPPORTED', `this policy reports one loss per batch: ${remedy}`);
  }
  return reduction === 'mean' ? output : times(output, batchSize(anchorBatch));
}

function times(output: PolicyOutput, factor: number): PolicyOutput {
  const { loss, parts = {} } = output;
  const scaled = Object.entries(parts).map(([name, part]) => [
    name,
    { ...part, weight: factor * part.weight },
  ]);
  return { ...output, loss: loss.mul(factor), ...(output.parts && { parts: Object.fromEntries(scaled) }) };
}

/** Reduces one loss per sample. */
export function reduce(losses: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return losses;
  return reduction === 'mean' ? losses.mean() : losses.sum();
}

/** @throws CraftError `ANCHOR_BATCH_EMPTY` */
export function batchSize(batch: Record<string, Tensor>): number {
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

/** How the student's features are compared with the teacher's. */
export type HiddenLossType = 'mse' | 'cosine' | 'l1';

/**
 * Distance of the student's hidden features from a frozen teacher's.
 *
 * Both sides are converted to float32, so the loss is float32; the teacher is detached. `mse` and `l1` compare elements:
 * `mean` averages over all of them, `sum` adds all of them, `none` averages within each sample. `cosine` flattens each
 * sample to one vector and takes 1 − cos, so its `sum` and `mean` run over samples; a zero vector has cosine 0.
 *
 * @param studentHidden [batch, …], any floating dtype; gradients flow into it
 * @param teacherHidden the same shape
 * @param lossType default `mse`
 * @param reduction default `mean`
 * @returns a scalar, or [batch] for `none`
 * @throws CraftError `HIDDEN_SHAPE` where shapes differ or there is no batch dimension; `HIDDEN_LOSS_UNKNOWN`;
 * `REDUCTION_UNKNOWN`
 *
 * @example
 * ```ts
 * const student = torch.tensor([[1, 0], [0, 1]]);
 * const teacher = torch.tensor([[1, 0], [1, 0]]);
 * computeHiddenRetentionLoss(student, teacher, 'cosine', 'none').tolist(); // [0, 1]
 * ```
 */
export function computeHiddenRetentionLoss(
  studentHidden: Tensor,
  teacherHidden: Tensor,
  lossType: HiddenLossType = 'mse',
  reduction: Reduction = 'mean',
): Tensor {
  checkReduction(reduction);
  const [ours, theirs] = [studentHidden.shape, teacherHidden.shape];
  if (ours.length === 0 || ours.join() !== theirs.join()) {
    const shapes = `student [${ours}], teacher [${theirs}]`;
    const remedy = 'both must be [batch, …] from the same layers and pooling; rebuild the anchor cache';
    throw new CraftError('HIDDEN_SHAPE', `hidden features differ in shape: ${shapes}; ${remedy}`);
  }
  return scope(() => {
    const rows = (tensor: Tensor) => tensor.to('float32').reshape([ours[0], -1]);
    const student = rows(studentHidden);
    const teacher = rows(teacherHidden.detach());
    if (lossType === 'cosine') return reduce(cosineSimilarity(student, teacher, 1).neg().add(1), reduction);
    const errors = elementErrors(student.sub(teacher), lossType);
    return reduction === 'none' ? errors.mean([1]) : reduce(errors, reduction);
  });
}

function elementErrors(difference: Tensor, lossType: HiddenLossType): Tensor {
  if (lossType === 'mse') return difference.square();
  if (lossType === 'l1') return difference.abs();
  throw new CraftError('HIDDEN_LOSS_UNKNOWN', `hidden loss ${lossType} is unknown; use mse, cosine or l1`);
}
