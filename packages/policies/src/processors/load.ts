import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import type { PolicyFeatures } from '../config/policy-fields.js';
import { makeProcessors } from '../policy-processors.js';
import type { PolicyConfig } from '../registry.js';
import { NormalizerStep } from './normalizer.js';
import { PolicyProcessors, ProcessorPipeline } from './pipeline.js';
import { RelativeActionsStep } from './relative-actions.js';
import { legacyStats, loadStatTensors } from './stats.js';
import { buildStep, type ProcessorOverrides } from './step-registry.js';

export const PREPROCESSOR_FILE = 'policy_preprocessor.json';
export const POSTPROCESSOR_FILE = 'policy_postprocessor.json';

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
 * @param path the pipeline's JSON file; state files lie beside it
 * @throws CraftError `PROCESSOR_MISSING`, `PROCESSOR_INVALID`, `PROCESSOR_STEP_UNKNOWN`, `NORMALIZER_STATS_MISSING`,
 * `NORMALIZER_STATS_INVALID`, each naming the file and the step
 */
export function loadPipeline(path: string, overrides: ProcessorOverrides = {}): ProcessorPipeline {
  const { name, steps } = readPipelineFile(path);
  return new ProcessorPipeline(
    name,
    steps.map((entry, i) => {
      const stepName = entry.registry_name ?? entry.class ?? 'no name';
      const where = `${path}: step ${i} (${stepName})`;
      const state =
        entry.state_file === undefined ? null : loadStatTensors(stateFile(path, entry.state_file, where));
      return buildStep(stepName, { config: entry.config, state, overrides, where });
    }),
  );
}

/**
 * Reads the processors of a checkpoint's `pretrained_model` folder. In checkpoints of LeRobot before 0.4, which have no
 * processor files, the statistics are taken from `model.safetensors`.
 *
 * @throws CraftError as {@link loadPipeline}; `PROCESSOR_FEATURES` where the policy's features have other shapes than the saved
 * statistics; `PROCESSOR_RELATIVE` where the policy wants relative actions and the checkpoint does not, or the other way round
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
    // What actions mean is learned anew with new statistics; the steps may be missing from older files.
    if (stats !== undefined) return makeProcessors(config, stats, { ...overrides, where: preprocessor });
    const message = `the checkpoint's actions are ${config.use_relative_actions ? 'absolute' : 'relative to the state'}`;
    throw new CraftError(
      'PROCESSOR_RELATIVE',
      `${preprocessor}: ${message}: leave policy.use_relative_actions out, or train with --normalization_stats=dataset`,
    );
  }
  if (stats === undefined) requireSameShapes(pre, config, preprocessor);
  return new PolicyProcessors(pre, post);
}

function sameActions(
  pipeline: ProcessorPipeline,
  config: PolicyConfig,
): config is Exclude<PolicyConfig, { use_relative_actions: unknown }> {
  if (config.type !== 'pi0_fast') return true;
  const relative = pipeline.steps.some((step) => step instanceof RelativeActionsStep && step.enabled);
  return relative === config.use_relative_actions;
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
