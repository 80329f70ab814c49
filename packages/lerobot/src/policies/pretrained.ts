import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile, CraftError, safetensors } from '@craft-ft/torch';
import { isLegacyStat } from '../processors/legacy.js';
import type { PolicyProcessors } from '../processors/pipeline.js';
import { saveProcessors } from '../processors/save.js';
import { makePolicy } from './factory.js';
import type { Policy } from './policy.js';
import type { PolicyConfig } from './registry.js';

/**
 * Writes what LeRobot's `save_pretrained` does: `config.json`, `model.safetensors` and both processors.
 *
 * @param dir an existing folder
 * @throws CraftError DISK_FULL, WRITE_FAILED
 */
export function savePolicy(policy: Policy, processors: PolicyProcessors, dir: string): void {
  atomicWriteFile(join(dir, 'config.json'), JSON.stringify(policy.config, null, 4));
  safetensors.saveFile(join(dir, 'model.safetensors'), policy.stateDict(), { format: 'pt' });
  saveProcessors(processors, dir);
}

/**
 * Builds a policy and loads its weights. Strict: every tensor of the model must be in the checkpoint, in its shape, and nothing
 * else (LeRobot only logs differences, and trains on from random weights).
 *
 * @param dir folder with `model.safetensors` (or its shards)
 * @param config the policy's configuration, with overrides applied
 * @throws CraftError STATE_DICT_MISMATCH naming the tensors, CHECKPOINT_NOT_FOUND
 */
export function loadPolicy(dir: string, config: PolicyConfig): Policy {
  const policy = makePolicy(config, { pretrained: true });
  const weights = loadWeights(dir);
  policy.loadStateDict(weights, { source: join(dir, 'model.safetensors') });
  for (const tensor of weights.values()) tensor.dispose();
  return policy;
}

function loadWeights(dir: string): ReturnType<typeof safetensors.loadFile> {
  const adapter = join(dir, 'adapter_config.json');
  if (existsSync(adapter) && !existsSync(join(dir, 'model.safetensors'))) {
    throw new CraftError(
      'CHECKPOINT_NOT_FOUND',
      `${dir}: holds only a LoRA adapter (adapter_config.json); merge it into its base first`,
    );
  }
  const weights = safetensors.loadFile(dir);
  // Checkpoints from before LeRobot 0.4 carry their statistics among the weights; the processors have read them already.
  for (const [name, tensor] of weights) {
    if (!isLegacyStat(name)) continue;
    tensor.dispose();
    weights.delete(name);
  }
  return weights;
}
