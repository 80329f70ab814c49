import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import type { PolicyConfig } from '../policies/registry.js';
import { makeProcessors } from './factory.js';
import { legacyStats } from './legacy.js';
import { PolicyProcessors, ProcessorPipeline } from './pipeline.js';
import { loadStatTensors } from './stats.js';
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
 * @throws CraftError as {@link loadPipeline}
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
  const { stats } = overrides;
  return new PolicyProcessors(
    loadPipeline(preprocessor, overrides),
    loadPipeline(join(dir, POSTPROCESSOR_FILE), stats === undefined ? {} : { stats }),
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
