import { join } from 'node:path';
import { readJsonObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import type { LoraSettings } from './settings.js';

/** PEFT's file beside the adapters' weights. */
export const ADAPTER_CONFIG_FILE = 'adapter_config.json';

const off = z.union([z.literal(false), z.null()]).optional();

/** The fields of PEFT's `LoraConfig` that decide what is computed; those that must have one value only are listed with it. */
const adapterConfigSchema = z.looseObject({
  peft_type: z.literal('LORA'),
  base_model_name_or_path: z.string().nullable().optional(),
  r: z.int().min(1).default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  use_rslora: z.boolean().nullable().default(false),
  target_modules: z.union([z.string(), z.array(z.string())]),
  modules_to_save: z.array(z.string()).nullable().default(null),
  rank_pattern: z.record(z.string(), z.number()).nullable().default(null),
  alpha_pattern: z.record(z.string(), z.number()).nullable().default(null),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullable().default(true),
  bias: z.literal('none').default('none'),
  fan_in_fan_out: off,
  use_dora: off,
  lora_bias: off,
  layers_to_transform: z.null().optional(),
  layer_replication: z.null().optional(),
  exclude_modules: z.null().optional(),
});

/**
 * Reads `adapter_config.json`.
 *
 * @throws CraftError `CONFIG_UNREADABLE`; `LORA_UNSUPPORTED` naming a field whose value asks for something else than plain LoRA on
 * linear layers, or a base that is missing
 */
export function readAdapterConfig(dir: string): LoraSettings {
  const file = join(dir, ADAPTER_CONFIG_FILE);
  const parsed = adapterConfigSchema.safeParse(readJsonObject(file));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new CraftError('LORA_UNSUPPORTED', `${file}: ${issue.path.join('.')}: ${issue.message}`);
  }
  const config = parsed.data;
  if (!config.base_model_name_or_path) {
    throw new CraftError(
      'LORA_UNSUPPORTED',
      `${file}: base_model_name_or_path is missing: write the folder or name of the policy the adapters belong to`,
    );
  }
  return {
    r: config.r,
    loraAlpha: config.lora_alpha,
    loraDropout: config.lora_dropout,
    useRslora: config.use_rslora ?? false,
    init: config.init_lora_weights === 'gaussian' ? 'gaussian' : 'uniform',
    targetModules: config.target_modules,
    modulesToSave: config.modules_to_save ?? [],
    rankPattern: config.rank_pattern ?? {},
    alphaPattern: config.alpha_pattern ?? {},
    baseModel: config.base_model_name_or_path,
  };
}

/**
 * The text of `adapter_config.json` as PEFT writes it.
 *
 * @param targets names of the layers, for `all-linear`, which PEFT accepts for transformers' own models only
 */
export function adapterConfigText(settings: LoraSettings, targets: readonly string[]): string {
  const { targetModules } = settings;
  const everything = typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear';
  const config = {
    alpha_pattern: settings.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: settings.baseModel,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: settings.init === 'gaussian' ? 'gaussian' : true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: settings.loraAlpha,
    lora_dropout: settings.loraDropout,
    megatron_config: null,
    megatron_core: 'megatron.core',
    modules_to_save: settings.modulesToSave.length === 0 ? null : settings.modulesToSave,
    peft_type: 'LORA',
    r: settings.r,
    rank_pattern: settings.rankPattern,
    revision: null,
    target_modules: everything ? targets : targetModules,
    task_type: null,
    use_dora: false,
    use_rslora: settings.useRslora,
  };
  return JSON.stringify(config, null, 2);
}
