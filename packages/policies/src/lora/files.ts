import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile, CraftError, nn, safetensors, type Tensor } from '@craft-ft/torch';
import type { Policy } from '../policy.js';
import { ADAPTER } from './adapter.js';
import { ADAPTER_CONFIG_FILE, adapterConfigText, readAdapterConfig } from './adapter-config.js';
import { type AttachedLora, attachedLora, attachLora } from './attach.js';
import { portableName } from './base-model.js';

/** PEFT's name for the weights of adapters. */
export const ADAPTER_FILE = 'adapter_model.safetensors';

/** PEFT wraps a model twice. */
const PREFIX = 'base_model.model.';

/** `model.q_proj.adapter.lora_A.weight` is `base_model.model.model.q_proj.lora_A.weight` in PEFT's files. */
const peftName = (name: string) => PREFIX + name.replace(`.${ADAPTER}.lora_`, '.lora_');

const ownName = (name: string) =>
  name.replace(PREFIX, '').replace(/\.(lora_[AB])\.weight$/, `.${ADAPTER}.$1.weight`);

/** The trained part of a policy with adapters, by its own names. */
function trainedTensors(policy: Policy, { layers, fullyTrained }: AttachedLora): Map<string, Tensor> {
  const state = policy.stateDict();
  const prefixes = [
    ...layers.map(({ name }) => `${name}.${ADAPTER}.`),
    ...fullyTrained.map((name) => `${name}.`),
  ];
  return new Map([...state].filter(([name]) => prefixes.some((prefix) => name.startsWith(prefix))));
}

/**
 * Writes `adapter_config.json` and `adapter_model.safetensors` as PEFT does: adapters and the modules trained in full, without the base.
 *
 * @throws CraftError DISK_FULL, WRITE_FAILED
 */
export function saveAdapters(policy: Policy, lora: AttachedLora, dir: string): void {
  const settings = { ...lora.settings, baseModel: portableName(lora.settings.baseModel) };
  const targets = lora.layers.map(({ name }) => name);
  atomicWriteFile(join(dir, ADAPTER_CONFIG_FILE), adapterConfigText(settings, targets));
  const tensors = [...trainedTensors(policy, lora)].map(([name, value]): [string, Tensor] => [
    peftName(name),
    value,
  ]);
  safetensors.saveFile(join(dir, ADAPTER_FILE), tensors, { format: 'pt' });
}

/**
 * Gives a policy that has its base's weights the adapters of a folder, trainable.
 *
 * @throws CraftError `CHECKPOINT_NOT_FOUND`, `LORA_UNSUPPORTED`, `LORA_TARGETS`; `STATE_DICT_MISMATCH` naming what is missing or does
 * not belong
 */
export function loadAdapters(policy: Policy, dir: string): void {
  const path = join(dir, ADAPTER_FILE);
  if (!existsSync(path)) throw new CraftError('CHECKPOINT_NOT_FOUND', `${dir}: holds no ${ADAPTER_FILE}`);
  const settings = readAdapterConfig(dir);
  if (attachedLora(policy) !== null)
    throw new CraftError('LORA_ATTACHED', `${dir}: the policy has adapters already`);
  const lora = nn.init.withoutInit(() => attachLora(policy, settings));
  using file = safetensors.openCheckpoint(path);
  nn.loadTensors(trainedTensors(policy, lora), file, {
    rename: (name) => [ownName(name)],
    hint: () => `; ${ADAPTER_CONFIG_FILE} has r=${settings.r} and ${lora.layers.length} layers`,
  });
}
