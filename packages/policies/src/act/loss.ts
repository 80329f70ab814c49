import type { Tensor } from '@craft-ft/torch';

/**
 * Mean |target − actions| over the steps that are not padding, of the whole batch: scalar. 0 where all are padding.
 *
 * Older LeRobot versions divided by the number of all steps.
 *
 * @param actions `[B, chunk, a]`
 * @param target `[B, chunk, a]`
 * @param padded bool `[B, chunk]`, true for steps beyond the episode's end
 */
export function maskedL1(actions: Tensor, target: Tensor, padded: Tensor): Tensor {
  const valid = padded.logicalNot().unsqueeze(-1);
  const count = valid.sum().mul(target.size(-1)).clampMin(1);
  return target.sub(actions).abs().mul(valid).sum().div(count);
}
