import * as torch from '@craft-ft/torch';
import { CraftError, type Tensor } from '@craft-ft/torch';
import { checkReduction, type Reduction, reduce } from './retention-loss.js';

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
  return torch.scope(() => {
    const rows = (tensor: Tensor) => tensor.to('float32').reshape([ours[0], -1]);
    const student = rows(studentHidden);
    const teacher = rows(teacherHidden.detach());
    if (lossType === 'cosine')
      return reduce(torch.cosineSimilarity(student, teacher, 1).neg().add(1), reduction);
    const errors = elementErrors(student.sub(teacher), lossType);
    return reduction === 'none' ? errors.mean([1]) : reduce(errors, reduction);
  });
}

function elementErrors(difference: Tensor, lossType: HiddenLossType): Tensor {
  if (lossType === 'mse') return difference.square();
  if (lossType === 'l1') return difference.abs();
  throw new CraftError('HIDDEN_LOSS_UNKNOWN', `hidden loss ${lossType} is unknown; use mse, cosine or l1`);
}
