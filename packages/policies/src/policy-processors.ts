import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, cudaIsAvailable } from '@craft-ft/torch';
import type { PolicyFeatures } from './config/policy-fields.js';
import { requireDevice } from './processors/basic-steps.js';
import {
  loadPipeline as loadSteps,
  type PolicySteps,
  SHARED_STEPS,
  type ProcessorOverrides as SharedOverrides,
  type StepBuilders,
} from './processors/load.js';
import { NormalizerStep } from './processors/normalizer.js';
import { PolicyProcessors, type ProcessorPipeline } from './processors/pipeline.js';
import { RelativeActionsStep } from './processors/relative-actions.js';
import { legacyStats, type StatTensors } from './processors/stats.js';
import { POLICY_TYPES, type PolicyConfig, registrationOf } from './registry.js';

const PREPROCESSOR_FILE = 'policy_preprocessor.json';
const POSTPROCESSOR_FILE = 'policy_postprocessor.json';

/** What can be overridden while processors are made or loaded. */
export interface ProcessorOverrides extends SharedOverrides {
  /** The policy's configuration: its tokenisers and lengths take precedence, and it holds what LeRobot does not write to the files. */
  policy?: PolicyConfig;
}

/**
 * Resolves a configured device: null and `auto` are the first CUDA device if there is one, else the CPU.
 *
 * @throws CraftError `DEVICE_UNAVAILABLE`
 */
export function resolveDevice(device: string | null): string {
  if (device !== null && device !== 'auto') return requireDevice(device);
  return cudaIsAvailable() ? 'cuda' : 'cpu';
}

/**
 * A policy's processors, with LeRobot's steps in LeRobot's order.
 *
 * @param config with its input and output features filled in
 * @param stats of the dataset the policy learns from; see `statTensors`
 * @param options.where names the dataset or file in messages. Default `statistics`
 * @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID` for a feature that cannot be normalised
 */
export function makeProcessors(
  config: PolicyConfig,
  stats: StatTensors,
  options: ProcessorOverrides & { where?: string } = {},
): PolicyProcessors {
  const where = options.where ?? 'statistics';
  const device = options.device ?? resolveDevice(config.device);
  return registrationOf(config).makeProcessors(config, stats, { ...options, where, device });
}

/**
 * Reads a pipeline that this project or LeRobot saved.
 *
 * @param path the pipeline's JSON file; state files are beside it
 * @throws CraftError `PROCESSOR_MISSING`, `PROCESSOR_INVALID`, `PROCESSOR_STEP_UNKNOWN`, `NORMALIZER_STATS_MISSING`,
 * `NORMALIZER_STATS_INVALID`, each naming the file and the step
 */
export function loadPipeline(path: string, overrides: ProcessorOverrides = {}): ProcessorPipeline {
  return loadSteps(path, allSteps(overrides.policy), overrides);
}

// Those of the policy come last: its configuration takes precedence over a file.
function allSteps(policy: PolicyConfig | undefined): StepBuilders {
  const others = POLICY_TYPES.map((type) => bound(registrationOf({ type }).savedSteps ?? {}, undefined));
  const own = policy === undefined ? {} : bound(registrationOf(policy).savedSteps ?? {}, policy);
  return Object.assign({}, ...others, SHARED_STEPS, own);
}

function bound<C>(steps: PolicySteps<C>, config: C | undefined): StepBuilders {
  return Object.fromEntries(
    Object.entries(steps).map(([name, build]) => [name, (saved) => build(saved, config)] as const),
  );
}

/**
 * Reads the processors of a checkpoint's `pretrained_model` folder. In checkpoints of LeRobot before 0.4, which have no
 * processor files, the statistics are taken from `model.safetensors`.
 *
 * @throws CraftError as {@link loadPipeline}; `PROCESSOR_FEATURES` if the policy's features have other shapes than the saved
 * statistics; `PROCESSOR_RELATIVE` if the policy wants relative actions and the checkpoint has absolute ones, or vice versa
 */
export function loadProcessors(
  dir: string,
  config: PolicyConfig,
  given: ProcessorOverrides = {},
): PolicyProcessors {
  const overrides = { ...given, policy: given.policy ?? config };
  const preprocessor = join(dir, PREPROCESSOR_FILE);
  if (!existsSync(preprocessor) && !existsSync(join(dir, POSTPROCESSOR_FILE))) {
    const stats = overrides.stats ?? legacyStats(join(dir, 'model.safetensors'), config);
    if (stats === null) {
      throw new CraftError(
        'PROCESSOR_MISSING',
        `${preprocessor}: the file is missing and model.safetensors holds no statistics either; is the checkpoint complete?`,
      );
    }
    return makeProcessors(config, stats, { ...overrides, where: join(dir, 'model.safetensors') });
  }
  // Actions always end on the CPU, whatever the policy runs on.
  const { stats, policy } = overrides;
  const pre = loadPipeline(preprocessor, overrides);
  const post = loadPipeline(
    join(dir, POSTPROCESSOR_FILE),
    stats === undefined ? { policy } : { policy, stats },
  );
  if (!sameActions(pre, config)) {
    // New statistics redefine the actions anyway, and older files may lack the steps.
    if (stats !== undefined) return makeProcessors(config, stats, { ...overrides, where: preprocessor });
    const asked = registrationOf(config).relativeActions?.(config) != null;
    const message = `the checkpoint's actions are ${asked ? 'absolute' : 'relative to the state'}`;
    throw new CraftError(
      'PROCESSOR_RELATIVE',
      `${preprocessor}: ${message}: leave policy.use_relative_actions out, or train with --normalization_stats=dataset`,
    );
  }
  if (stats === undefined) requireSameShapes(pre, config, preprocessor);
  return new PolicyProcessors(pre, post);
}

function sameActions(pipeline: ProcessorPipeline, config: PolicyConfig): boolean {
  const { relativeActions } = registrationOf(config);
  if (relativeActions === undefined) return true;
  const relative = pipeline.steps.some((step) => step instanceof RelativeActionsStep && step.enabled);
  return relative === (relativeActions(config) !== null);
}

function requireSameShapes(pipeline: ProcessorPipeline, config: PolicyConfig, where: string): void {
  const step = pipeline.steps.find((one) => one instanceof NormalizerStep);
  const saved = (step?.config().features ?? {}) as PolicyFeatures;
  for (const [key, { type, shape }] of Object.entries({
    ...config.input_features,
    ...config.output_features,
  })) {
    const found = saved[key]?.shape;
    if (type === 'VISUAL' || found === undefined || found.join() === shape.join()) continue;
    throw new CraftError(
      'PROCESSOR_FEATURES',
      `${where}: normalises "${key}" of shape [${found}], the policy's has [${shape}]; for another robot take the new data's ` +
        'statistics with --normalization_stats=dataset',
    );
  }
}
