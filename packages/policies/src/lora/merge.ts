import { CraftError, noGrad, scope, type Tensor } from '@craft-ft/torch';
import type { Policy } from '../policy.js';
import { attachedLora, detachLora } from './attach.js';

/**
 * Adds every adapter's update to its layer's weight and removes the adapters: a policy like any other. The sum is formed in float32
 * and rounded once where the weight is bfloat16.
 *
 * @throws CraftError `LORA_NOT_ATTACHED`
 */
export function mergeLora(policy: Policy): void {
  const lora = attachedLora(policy);
  if (lora === null) throw new CraftError('LORA_NOT_ATTACHED', 'the policy has no adapters to merge');
  for (const { layer, adapter } of lora.layers) {
    scope(() => noGrad((): Tensor => layer.weight.copy_(layer.weight.to('float32').add(adapter.delta()))));
  }
  detachLora(policy);
}
