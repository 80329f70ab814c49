import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { TaskEmbeddingStep } from '../act/processors.js';
import { featureTypeSchema, normalizationModeSchema, type PolicyFeatures } from '../config/policy-fields.js';
import type { Pi0FastConfig } from '../pi0_fast/configuration.js';
import { PromptStep, TokenizeActionsStep } from '../pi0_fast/processors.js';
import type { PolicyConfig } from '../registry.js';
import { DeviceStep, RenameStep, ToBatchStep } from './basic-steps.js';
import { type NormalizerOptions, NormalizerStep, UnnormalizerStep } from './normalizer.js';
import { AbsoluteActionsStep, RelativeActionsStep } from './relative-actions.js';
import type { StatTensors } from './stats.js';
import type { ProcessorStep, WarningOptions } from './step.js';
import { TokenizeTextStep } from './tokenize-text.js';

/** What may be changed while a saved pipeline is loaded, as LeRobot's processor overrides. */
export interface ProcessorOverrides {
  /** Device of the preprocessor. Default: the one in the file. */
  device?: string;
  /** Names of a robot's or dataset's observations → the policy's. Default: the map in the file. */
  renameMap?: Readonly<Record<string, string>>;
  /** Statistics to use in place of the saved ones; with `policy`, its features and normalisation too, as LeRobot. */
  stats?: StatTensors;
  /** The policy's configuration: its tokenisers and lengths count, and it has what LeRobot leaves out of the files. */
  policy?: PolicyConfig;
  /** Receives one-line warnings of steps. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** A step's entry in a pipeline file, with its state read. */
export interface SavedStep {
  config: PlainObject;
  state: StatTensors | null;
  overrides: ProcessorOverrides;
  /** `…/policy_preprocessor.json: step 3 (normalizer_processor)` */
  where: string;
}

const floatDtype = z.enum(['float16', 'bfloat16', 'float32', 'float64']).nullable().default(null);
// LeRobot accepts these short names.
const FLOAT_ALIASES: Record<string, string> = { half: 'float16', float: 'float32', double: 'float64' };

const schemas = {
  rename: z.looseObject({ rename_map: z.record(z.string(), z.string()).default({}) }),
  toBatch: z.looseObject({}),
  device: z.looseObject({
    device: z.string().default('cpu'),
    float_dtype: z.preprocess((name) => FLOAT_ALIASES[String(name)] ?? name, floatDtype),
  }),
  normalizer: z.looseObject({
    eps: z.number().positive().default(1e-8),
    features: z.record(z.string(), z.object({ type: featureTypeSchema, shape: z.array(z.int()) })),
    norm_map: z.partialRecord(featureTypeSchema, normalizationModeSchema),
    normalize_observation_keys: z.array(z.string()).nullish(),
  }),
  relative: z.looseObject({
    enabled: z.boolean().default(false),
    exclude_joints: z.array(z.string()).default([]),
    action_names: z.array(z.string()).nullable().default(null),
  }),
  taskEmbedding: z.looseObject({ dim: z.int().min(1) }),
  absolute: z.looseObject({ enabled: z.boolean().default(false) }),
  prompt: z.looseObject({
    max_state_dim: z.int().min(1).optional(),
    task_key: z.string().default('task'),
  }),
  text: z.looseObject({
    tokenizer_name: z.string().optional(),
    max_length: z.int().min(1).default(512),
    task_key: z.string().default('task'),
    padding_side: z.enum(['left', 'right']).default('right'),
    padding: z.enum(['max_length', 'longest']).default('max_length'),
    truncation: z.boolean().default(true),
  }),
  actions: z.looseObject({
    action_tokenizer_name: z.string().optional(),
    paligemma_tokenizer_name: z.string().optional(),
    max_action_tokens: z.int().min(1).default(256),
    fast_skip_tokens: z.int().min(0).optional(),
    // Nothing of a tokeniser's folder is ever run here.
    trust_remote_code: z.boolean().optional(),
  }),
};

const BUILDERS: Readonly<Record<string, (saved: SavedStep) => ProcessorStep>> = {
  rename_observations_processor: (saved) =>
    new RenameStep(saved.overrides.renameMap ?? read(schemas.rename, saved).rename_map),
  to_batch_processor: (saved) => {
    read(schemas.toBatch, saved);
    return new ToBatchStep();
  },
  device_processor: (saved) => {
    const { device, float_dtype } = read(schemas.device, saved);
    return new DeviceStep(saved.overrides.device ?? device, float_dtype);
  },
  normalizer_processor: (saved) => {
    const { policy } = saved.overrides;
    return new NormalizerStep(
      normalizerOptions(saved, policy && { ...policy.input_features, ...policy.output_features }),
    );
  },
  unnormalizer_processor: (saved) =>
    new UnnormalizerStep(normalizerOptions(saved, saved.overrides.policy?.output_features)),
  relative_actions_processor: (saved) => {
    const config = read(schemas.relative, saved);
    const { enabled, exclude_joints: excludeJoints, action_names: actionNames } = config;
    return new RelativeActionsStep({ enabled, excludeJoints, actionNames });
  },
  craft_task_embedding_processor: (saved) => new TaskEmbeddingStep(read(schemas.taskEmbedding, saved).dim),
  absolute_actions_processor: (saved) => new AbsoluteActionsStep(read(schemas.absolute, saved).enabled),
  pi0_fast_prepare_state_tokenizer_processor_step: (saved) => {
    const { max_state_dim, task_key: taskKey } = read(schemas.prompt, saved);
    return new PromptStep({ maxStateDim: pi0Fast(saved)?.max_state_dim ?? max_state_dim, taskKey });
  },
  tokenizer_processor: (saved) => {
    const config = read(schemas.text, saved);
    return new TokenizeTextStep({
      tokenizerName: named(
        saved,
        'tokenizer_name',
        pi0Fast(saved)?.text_tokenizer_name,
        config.tokenizer_name,
      ),
      maxLength: pi0Fast(saved)?.tokenizer_max_length ?? config.max_length,
      taskKey: config.task_key,
      paddingSide: config.padding_side,
      padding: config.padding,
      truncation: config.truncation,
      ...warnings(saved),
    });
  },
  action_tokenizer_processor: (saved) => {
    const config = read(schemas.actions, saved);
    const policy = pi0Fast(saved);
    const { paligemma_tokenizer_name: text = 'google/paligemma-3b-pt-224', action_tokenizer_name: fast } =
      config;
    return new TokenizeActionsStep({
      actionTokenizerName: named(saved, 'action_tokenizer_name', policy?.action_tokenizer_name, fast),
      textTokenizerName: policy?.text_tokenizer_name ?? text,
      maxActionTokens: policy?.max_action_tokens ?? config.max_action_tokens,
      fastSkipTokens: policy?.fast_skip_tokens ?? config.fast_skip_tokens ?? 128,
      ...warnings(saved),
    });
  },
};

// The policy decodes with the tokenisers of its configuration and takes sequences of its lengths, so the processors must too.
function pi0Fast({ overrides: { policy } }: SavedStep): Pi0FastConfig | undefined {
  return policy?.type === 'pi0_fast' ? policy : undefined;
}

function named(saved: SavedStep, field: string, own: string | undefined, stored: string | undefined): string {
  const name = own ?? stored;
  if (name !== undefined) return name;
  throw new CraftError(
    'PROCESSOR_INVALID',
    `${saved.where}: config.${field} is missing: which tokenizer is it?`,
  );
}

function warnings({ overrides: { onWarning } }: SavedStep): WarningOptions {
  return onWarning === undefined ? {} : { onWarning };
}

/**
 * Makes a step from its entry in a pipeline file.
 *
 * @throws CraftError `PROCESSOR_STEP_UNKNOWN` naming the step, `PROCESSOR_INVALID`, or what the step itself throws
 */
export function buildStep(registryName: string, saved: SavedStep): ProcessorStep {
  const build = Object.hasOwn(BUILDERS, registryName) ? BUILDERS[registryName] : undefined;
  if (build !== undefined) return build(saved);
  const known = Object.keys(BUILDERS).join(', ');
  throw new CraftError(
    'PROCESSOR_STEP_UNKNOWN',
    `${saved.where}: this step is not known here; known are ${known}`,
  );
}

// `own`: features of the policy, which may be for another robot than the saved ones; other statistics go with them.
function normalizerOptions(saved: SavedStep, own: PolicyFeatures | undefined): NormalizerOptions {
  const config = read(schemas.normalizer, saved);
  const { stats, policy } = saved.overrides;
  const fresh = stats !== undefined && policy !== undefined;
  return {
    features: fresh && own !== undefined ? own : (config.features as PolicyFeatures),
    normMap: fresh ? policy.normalization_mapping : config.norm_map,
    stats: stats ?? saved.state ?? new Map(),
    eps: config.eps,
    normalizeObservationKeys: config.normalize_observation_keys,
    where: saved.where,
  };
}

function read<S extends z.ZodObject>(schema: S, { config, where }: SavedStep): z.infer<S> {
  const result = schema.safeParse(config);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw new CraftError(
      'PROCESSOR_INVALID',
      `${where}: config.${issue.path.map(String).join('.')}: ${issue.message}`,
    );
  }
  const foreign = Object.entries(config).filter(
    ([key, value]) => !(key in schema.shape) && !isHarmless(value),
  );
  if (foreign.length > 0) {
    const shown = foreign.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(', ');
    const message = `${where}: config has ${shown}, which is not supported here; the result would differ from LeRobot's`;
    throw new CraftError('PROCESSOR_INVALID', message);
  }
  return result.data;
}

/** A setting of a newer LeRobot that is switched off changes nothing. */
function isHarmless(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === null || value === false;
}
