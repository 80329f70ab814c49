import { existsSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { downloadPolicy, looksLikeRepoId, policyCacheFolder } from '@craft-ft/datasets';
import { findPolicyDir, readJsonObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, CraftError, nn, safetensors, type Tensor } from '@craft-ft/torch';
import { z } from 'zod';
import type { Policy } from '../policy.js';
import { type AttachedLora, attachedLora, attachLora } from './attach.js';
import type { LoraSettings } from './config.js';
import { ADAPTER } from './lora-linear.js';

/** PEFT's name for the weights of adapters. */
const ADAPTER_FILE = 'adapter_model.safetensors';

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
 * Attaches the adapters of a folder, trainable, to a policy that has its base's weights.
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

/** PEFT's file beside the adapters' weights. */
const ADAPTER_CONFIG_FILE = 'adapter_config.json';

const off = z.union([z.literal(false), z.null()]).optional();

/** The fields of PEFT's `LoraConfig` that affect the computation; those with a single supported value are pinned to it. */
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
 * @throws CraftError `CONFIG_UNREADABLE`; `LORA_UNSUPPORTED` naming a field that asks for something other than plain LoRA on linear
 * layers, or a base that is missing
 */
function readAdapterConfig(dir: string): LoraSettings {
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
 * @param targets names of the layers, written in place of `all-linear`, which PEFT accepts only for transformers' own models
 */
function adapterConfigText(settings: LoraSettings, targets: readonly string[]): string {
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

/** Whether a policy's folder holds adapters instead of weights of its own. */
export function holdsAdapters(dir: string): boolean {
  return existsSync(join(dir, ADAPTER_CONFIG_FILE)) && !existsSync(join(dir, 'model.safetensors'));
}

/** The name of the base in an adapter's files: `user/name` if it came from the Hub, so that it works on another machine too. */
function portableName(folder: string): string {
  const inCache = relative(join(policyCacheFolder('a/b'), '..', '..'), folder).split(sep);
  const [user, name] = inCache;
  if (user === undefined || user === '..' || name === undefined || name.includes('@')) return folder;
  return `${user}/${name}`;
}

/**
 * The folder of the policy that adapters belong to.
 *
 * @param dir folder with `adapter_config.json`
 * @throws CraftError `LORA_BASE` if the base is neither a folder nor downloaded, or holds adapters itself
 */
export function baseFolder(dir: string): string {
  const { baseModel } = readAdapterConfig(dir);
  const folder = [baseModel, ...cached(baseModel)].find((path) => existsSync(path));
  const where = `${join(dir, ADAPTER_CONFIG_FILE)}: base_model_name_or_path=${baseModel}`;
  if (folder === undefined) {
    throw new CraftError(
      'LORA_BASE',
      `${where} is not here; copy it there, or change the field to where it is`,
    );
  }
  const base = findPolicyDir(folder);
  if (!holdsAdapters(base)) return base;
  throw new CraftError(
    'LORA_BASE',
    `${where} holds adapters too; merge them first: craft export --policy.path=${base}`,
  );
}

/** Downloads the base of adapters if it is a Hub repository; does nothing if it is a folder. */
export async function fetchBase(dir: string, onWarning?: (line: string) => void): Promise<void> {
  if (!holdsAdapters(dir)) return;
  const { baseModel } = readAdapterConfig(dir);
  if (existsSync(baseModel) || !looksLikeRepoId(baseModel)) return;
  await downloadPolicy(baseModel, onWarning === undefined ? {} : { onWarning });
}

function cached(name: string): string[] {
  return looksLikeRepoId(name) ? [policyCacheFolder(name)] : [];
}
