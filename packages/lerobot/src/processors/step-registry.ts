import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { featureTypeSchema, normalizationModeSchema, type PolicyFeatures } from '../configs/features.js';
import type { PlainObject } from '../configs/plain.js';
import { DeviceStep } from './device.js';
import { type NormalizerOptions, NormalizerStep, UnnormalizerStep } from './normalizer.js';
import { RenameStep } from './rename.js';
import type { StatTensors } from './stats.js';
import type { ProcessorStep } from './step.js';
import { ToBatchStep } from './to-batch.js';

/** What may be changed while a saved pipeline is loaded, as LeRobot's processor overrides. */
export interface ProcessorOverrides {
  /** Device of the preprocessor. Default: the one in the file. */
  device?: string;
  /** Names of a robot's or dataset's observations → the policy's. Default: the map in the file. */
  renameMap?: Readonly<Record<string, string>>;
  /** Statistics to use in place of the saved ones. */
  stats?: StatTensors;
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
  normalizer_processor: (saved) => new NormalizerStep(normalizerOptions(saved)),
  unnormalizer_processor: (saved) => new UnnormalizerStep(normalizerOptions(saved)),
};

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

function normalizerOptions(saved: SavedStep): NormalizerOptions {
  const config = read(schemas.normalizer, saved);
  return {
    features: config.features as PolicyFeatures,
    normMap: config.norm_map,
    stats: saved.overrides.stats ?? saved.state ?? new Map(),
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
