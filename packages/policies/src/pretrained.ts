import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isPlainObject, readJsonObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, nn, safetensors } from '@craft-ft/torch';
import { type FeatureSources, withDatasetFeatures } from './dataset-features.js';
import { attachedLora } from './lora/attach.js';
import { baseFolder, holdsAdapters, loadAdapters, saveAdapters } from './lora/files.js';
import type { Policy } from './policy.js';
import { type PolicyProcessors, saveProcessors } from './processors/pipeline.js';
import { isLegacyStat } from './processors/stats.js';
import { type PolicyConfig, portablePolicyConfig, registrationOf } from './registry.js';

export interface MakePolicyOptions {
  /** Features of the dataset, by policy key; fill in what the configuration leaves empty. */
  features?: FeatureSources;
  /** Whether weights are loaded afterwards, so that the file in `pretrained_backbone_weights` is not needed. Default false. */
  pretrained?: boolean;
}

/**
 * A policy with random weights (decided by `torch.manualSeed`), on the CPU, in training mode. ACT's image backbone starts from
 * `pretrained_backbone_weights` if that is a file; the policy's own configuration then holds null.
 *
 * @throws CraftError `POLICY_FEATURES` if configuration and dataset do not match; `POLICY_BACKBONE`, `STATE_DICT_MISMATCH` for
 * backbone weights that are missing or do not fit
 *
 * @example
 * ```ts
 * torch.manualSeed(config.seed);
 * const policy = makePolicy(config.policy, { features: dataset.features });
 * policy.config.input_features; // { 'observation.state': { type: 'STATE', shape: [26] } }
 * ```
 */
export function makePolicy(config: PolicyConfig, options: MakePolicyOptions = {}): Policy {
  const filled = options.features === undefined ? config : withDatasetFeatures(config, options.features);
  return registrationOf(filled).make(filled, options.pretrained === true);
}

/**
 * Writes what LeRobot's `save_pretrained` does: `config.json`, `model.safetensors` (one file, whatever its size) and both processors.
 * A policy with LoRA adapters gets PEFT's `adapter_config.json` and `adapter_model.safetensors` instead of its weights.
 *
 * @param dir an existing folder
 * @throws CraftError DISK_FULL, WRITE_FAILED
 */
export function savePolicy(policy: Policy, processors: PolicyProcessors, dir: string): void {
  atomicWriteFile(join(dir, 'config.json'), JSON.stringify(portablePolicyConfig(policy.config), null, 4));
  const lora = attachedLora(policy);
  if (lora !== null) saveAdapters(policy, lora, dir);
  else safetensors.saveFile(join(dir, 'model.safetensors'), policy.stateDict(), { format: 'pt' });
  saveProcessors(processors, dir);
}

/**
 * Builds a policy and loads its weights, tensor by tensor and converted to the policy's dtypes, with only a few megabytes beyond
 * the policy itself. Strict: every tensor of the model must be in the checkpoint, in its shape, and nothing else (LeRobot only logs
 * differences, and continues with random weights). Adapters are attached to the policy they belong to, and are trainable.
 *
 * @param dir folder with `model.safetensors` (or its shards), or with adapters in PEFT's format
 * @param config the policy's configuration, with overrides applied
 * @throws CraftError STATE_DICT_MISMATCH naming the tensors and the fields of `config.json` that differ; CHECKPOINT_NOT_FOUND;
 * LORA_BASE, LORA_UNSUPPORTED, LORA_TARGETS for adapters
 */
export function loadPolicy(dir: string, config: PolicyConfig): Policy {
  const adapters = holdsAdapters(dir);
  const policy = nn.init.withoutInit(() => makePolicy(config, { pretrained: true }));
  loadWeights(policy, adapters ? baseFolder(dir) : dir);
  if (adapters) loadAdapters(policy, dir);
  return policy;
}

function loadWeights(policy: Policy, dir: string): void {
  const { checkpointNames } = registrationOf(policy.config);
  using file = safetensors.openCheckpoint(dir);
  nn.loadCheckpoint(policy, file, {
    // Checkpoints from before LeRobot 0.4 carry their statistics among the weights; the processors have read them already.
    rename: (name) => (isLegacyStat(name) ? [] : (checkpointNames?.(name) ?? [name])),
    hint: () => otherVariant(file, dir, policy.config),
  });
}

/** Fields that do not affect the weights. */
const NOT_ARCHITECTURE =
  /^(optimizer_|scheduler_|push_to_hub|repo_id|private|tags|license|device|pretrained_|use_peft|use_amp)/;

/** Why weights may not fit: the fields in which the checkpoint's own configuration, or its shapes, differ from the requested one. */
function otherVariant(file: safetensors.TensorSource, dir: string, config: PolicyConfig): string {
  const path = join(dir, 'config.json');
  const saved = existsSync(path) ? readJsonObject(path) : {};
  const differences = Object.entries(config).flatMap(([field, value]) => {
    const other = saved[field];
    if (NOT_ARCHITECTURE.test(field) || other === undefined || isPlainObject(value)) return [];
    const [there, asked] = [JSON.stringify(other), JSON.stringify(value)];
    return there === asked ? [] : [`${field}=${there} (asked for ${asked})`];
  });
  if (differences.length > 0) {
    return `; the checkpoint is of another variant, its config.json has ${differences.slice(0, 3).join(', ')}`;
  }
  const { variant: variants } = registrationOf(config);
  const variant = variants?.ofWeights(file) ?? null;
  const asked = variants?.of(config);
  return variant === null || variant === asked
    ? ''
    : `; the weights are those of ${variant}, not of ${asked}`;
}
