import type { Policy, TensorBatch } from '@craft-ft/policies';
import { CraftError, scope, type Tensor } from '@craft-ft/torch';
import { type LossOutput, reduce } from '../retention-loss.js';
import { type RetentionTarget, type RetentionTerm, requireTarget } from './term.js';

const ACTION: RetentionTarget = {
  key: 'anchor.action',
  compute: (policy, batch) => policy.actionsForDistillation(batch),
};

/** `action`: the distance of the policy's actions from the teacher's, in the policy's normalised units. */
export class ActionTerm implements RetentionTerm {
  readonly mode = 'action';
  readonly evaluation = true;
  readonly target = ACTION;

  constructor(
    private readonly distance: 'l1' | 'mse',
    private readonly reduction: 'mean' | 'sum',
  ) {}

  loss(policy: Policy, batch: TensorBatch): LossOutput {
    const teacher = requireTarget(batch, ACTION, this.mode);
    return scope(() => {
      const actions = policy.actionsForDistillation(batch);
      checkShape(actions, teacher);
      const difference = actions.to('float32').sub(teacher.to('float32'));
      const errors = this.distance === 'l1' ? difference.abs() : difference.square();
      const loss = reduce(perSample(errors, batch['anchor.action_mask']), this.reduction);
      return { loss, metrics: { action_loss: loss.detach() } };
    });
  }
}

/** Mean over the steps that count, and over the action's dimensions: `[B]`. */
function perSample(errors: Tensor, mask: Tensor | undefined): Tensor {
  if (mask === undefined) return errors.mean([1, 2]);
  const weights = mask.to(errors.dtype).unsqueeze(-1);
  const count = weights.sum([1, 2]).mul(errors.size(2)).clampMin(1);
  return errors.mul(weights).sum([1, 2]).div(count);
}

function checkShape(actions: Tensor, teacher: Tensor): void {
  if (actions.shape.join() === teacher.shape.join()) return;
  const shapes = `the teacher's are [${teacher.shape}], the policy's [${actions.shape}]`;
  throw new CraftError(
    'ANCHOR_ACTION_SHAPE',
    `anchor actions do not fit: ${shapes} ([batch, chunk_size, action dimensions]); build the cache with a teacher like the policy`,
  );
}
