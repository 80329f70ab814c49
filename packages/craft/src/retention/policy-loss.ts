import type { Policy, TensorBatch } from '@craft-ft/policies';
import { CraftError } from '@craft-ft/torch';
import type { RetentionMode } from '../config.js';
import { computeRetentionLoss, type LossOutput } from '../retention-loss.js';
import type { RetentionTerm } from './term.js';

/** `loss`: the policy's own training loss on anchors, dropout and all. */
export class PolicyLossTerm implements RetentionTerm {
  readonly mode: RetentionMode = 'loss';
  readonly evaluation = false;
  readonly target = null;

  constructor(private readonly reduction: 'mean' | 'sum') {}

  loss(policy: Policy, batch: TensorBatch): LossOutput {
    // Through `call`, which frees what the forward pass does not return.
    return computeRetentionLoss({ forward: (given) => policy.call(given) }, batch, this.reduction);
  }
}

/**
 * `token_ce`: the cross-entropy of the action tokens that an anchor cache keeps (a teacher's own, or the recorded ones); without a
 * cache, of the recorded ones.
 */
export class TokenTerm extends PolicyLossTerm {
  override readonly mode = 'token_ce';

  override loss(policy: Policy, batch: TensorBatch): LossOutput {
    const { 'anchor.token_labels': labels, 'anchor.token_mask': mask } = batch;
    const given =
      labels === undefined || mask === undefined
        ? batch
        : { ...batch, 'action.tokens': labels, 'action.token_mask': mask };
    if (given['action.tokens'] === undefined) {
      const message = `craft.retention_mode=token_ce: policy.type=${policy.config.type} predicts no action tokens`;
      throw new CraftError('RETENTION_TOKENS', `${message}; use loss, action or hidden`);
    }
    return super.loss(policy, given);
  }
}
