import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import {
  featureTypeSchema,
  normalizationModeSchema,
  type PolicyFeatureFields,
  type PolicyFeatures,
} from '../config/policy-fields.js';
import { DeviceStep, RenameStep, ToBatchStep } from './basic-steps.js';
import { type NormalizerOptions, NormalizerStep, UnnormalizerStep } from './normalizer.js';
import { ProcessorPipeline } from './pipeline.js';
import { AbsoluteActionsStep, RelativeActionsStep } from './relative-actions.js';
import { loadStatTensors, type StatTensors } from './stats.js';
import type { ProcessorStep, WarningOptions } from './step.js';
import { TokenizeTextStep } from './tokenize-text.js';

const pipelineSchema = z.looseObject({
  name: z.string().min(1),
  steps: z.array(
    z.looseObject({
      registry_name: z.string().optional(),
      class: z.string().optional(),
      config: z.record(z.string(), z.unknown()).default({}),
      state_file: z.string().optional(),
    }),
  ),
});

/**
 * Reads a pipeline that this project or LeRobot saved.
 *
 * @param path the pipeline's JSON file; state files are beside it
 * @param builders of every known step, by name
 * @throws CraftError `PROCESSOR_MISSING`, `PROCESSOR_INVALID`, `PROCESSOR_STEP_UNKNOWN`, `NORMALIZER_STATS_MISSING`,
 * `NORMALIZER_STATS_INVALID`, each naming the file and the step
 */
export function loadPipeline(
  path: string,
  builders: StepBuilders,
  overrides: ProcessorOverrides = {},
): ProcessorPipeline {
  const { name, steps } = readPipelineFile(path);
  return new ProcessorPipeline(
    name,
    steps.map((entry, i) => {
      const stepName = entry.registry_name ?? entry.class ?? 'no name';
      const where = `${path}: step ${i} (${stepName})`;
      const state =
        entry.state_file === undefined ? null : loadStatTensors(stateFile(path, entry.state_file, where));
      return buildStep(builders, stepName, { config: entry.config, state, overrides, where });
    }),
  );
}

function readPipelineFile(path: string): z.infer<typeof pipelineSchema> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new CraftError('PROCESSOR_MISSING', `${path}: the file is missing; is the checkpoint complete?`);
    }
    throw new CraftError('PROCESSOR_INVALID', `${path}: ${(error as Error).message}`, { cause: error });
  }
  const result = pipelineSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new CraftError('PROCESSOR_INVALID', `${path}: ${issue.path.map(String).join('.')}: ${issue.message}`);
}

function stateFile(path: string, name: string, where: string): string {
  if (basename(name) !== name)
    throw new CraftError('PROCESSOR_INVALID', `${where}: state_file "${name}" is not a file name`);
  const file = join(path, '..', name);
  if (!existsSync(file))
    throw new CraftError('PROCESSOR_MISSING', `${where}: its state file ${name} is missing`);
  return file;
}

/** What can be overridden while loading a saved pipeline, as LeRobot's processor overrides. */
export interface ProcessorOverrides {
  /** Device of the preprocessor. Default: the one in the file. */
  device?: string;
  /** Names of a robot's or dataset's observations → the policy's. Default: the map in the file. */
  renameMap?: Readonly<Record<string, string>>;
  /** Statistics that replace the saved ones; with `policy`, its features and normalisation do too, as in LeRobot. */
  stats?: StatTensors;
  /** The policy's features and normalisation; used only if `stats` replaces the saved statistics. */
  policy?: PolicyFeatureFields;
  /** Receives one-line warnings of steps. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** How a step is built from its entry in a file. */
export type StepBuilders = Readonly<Record<string, (saved: SavedStep) => ProcessorStep>>;

/** Builders of a policy's own steps, which also get its configuration if that is known. */
export type PolicySteps<C> = Readonly<Record<string, (saved: SavedStep, config?: C) => ProcessorStep>>;

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
  absolute: z.looseObject({ enabled: z.boolean().default(false) }),
  text: z.looseObject({
    tokenizer_name: z.string().optional(),
    max_length: z.int().min(1).default(512),
    task_key: z.string().default('task'),
    padding_side: z.enum(['left', 'right']).default('right'),
    padding: z.enum(['max_length', 'longest']).default('max_length'),
    truncation: z.boolean().default(true),
  }),
};

/** The steps that policies share, by LeRobot's names. */
export const SHARED_STEPS: StepBuilders = {
  rename_observations_processor: (saved) =>
    new RenameStep(saved.overrides.renameMap ?? readStepConfig(schemas.rename, saved).rename_map),
  to_batch_processor: (saved) => {
    readStepConfig(schemas.toBatch, saved);
    return new ToBatchStep();
  },
  device_processor: (saved) => {
    const { device, float_dtype } = readStepConfig(schemas.device, saved);
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
    const config = readStepConfig(schemas.relative, saved);
    const { enabled, exclude_joints: excludeJoints, action_names: actionNames } = config;
    return new RelativeActionsStep({ enabled, excludeJoints, actionNames });
  },
  absolute_actions_processor: (saved) =>
    new AbsoluteActionsStep(readStepConfig(schemas.absolute, saved).enabled),
  tokenizer_processor: (saved) => readTokenizeText(saved),
};

/**
 * Builds the step that tokenises instructions from its entry in a file.
 *
 * @param own the policy's tokeniser and length, which take precedence over the file's
 */
export function readTokenizeText(
  saved: SavedStep,
  own: { tokenizerName?: string; maxLength?: number } = {},
): TokenizeTextStep {
  const config = readStepConfig(schemas.text, saved);
  return new TokenizeTextStep({
    tokenizerName: requireName(saved, 'tokenizer_name', own.tokenizerName ?? config.tokenizer_name),
    maxLength: own.maxLength ?? config.max_length,
    taskKey: config.task_key,
    paddingSide: config.padding_side,
    padding: config.padding,
    truncation: config.truncation,
    ...warningsOf(saved),
  });
}

/** @throws CraftError `PROCESSOR_INVALID` if no tokeniser is named */
export function requireName(saved: SavedStep, field: string, name: string | undefined): string {
  if (name !== undefined) return name;
  throw new CraftError(
    'PROCESSOR_INVALID',
    `${saved.where}: config.${field} is missing: which tokenizer is it?`,
  );
}

/** The warning option of a step. */
export function warningsOf({ overrides: { onWarning } }: SavedStep): WarningOptions {
  return onWarning === undefined ? {} : { onWarning };
}

function buildStep(builders: StepBuilders, name: string, saved: SavedStep): ProcessorStep {
  const build = Object.hasOwn(builders, name) ? builders[name] : undefined;
  if (build !== undefined) return build(saved);
  const known = Object.keys(builders).join(', ');
  throw new CraftError(
    'PROCESSOR_STEP_UNKNOWN',
    `${saved.where}: this step is not known here; known are ${known}`,
  );
}

// `own`: the policy's features, used if statistics are replaced; the saved ones may be for another robot.
function normalizerOptions(saved: SavedStep, own: PolicyFeatures | undefined): NormalizerOptions {
  const config = readStepConfig(schemas.normalizer, saved);
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

/**
 * Parses the configuration of a step in a file.
 *
 * @throws CraftError `PROCESSOR_INVALID` also for fields that are not in the schema, unless they are switched off
 */
export function readStepConfig<S extends z.ZodObject>(schema: S, { config, where }: SavedStep): z.infer<S> {
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
