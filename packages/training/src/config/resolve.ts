import { join } from 'node:path';
import { deletePath, getPath, isPlainObject, type PlainObject } from '@craft-ft/datasets/json';
import type { OptimizerConfig, SchedulerConfig } from '@craft-ft/policies/config';
import {
  ConfigError,
  checkConfig,
  type Problem,
  peftForLeRobot,
  policyConfigSchema,
  policyPresets,
  portablePolicyConfig,
} from '@craft-ft/policies/config';
import type { z } from 'zod';
import { ENVIRONMENT_FLAGS_NOT_YET, LEROBOT_FLAGS_NOT_YET, type NotYet, removeNotYet } from './not-yet.js';
import { type TrainConfig, trainConfigSchema, validateTrain } from './train.js';

const ACCUMULATION = 'accelerator.gradient_accumulation.steps';

/** A training configuration that may be larger than `TrainConfig`: its schema, rules and unavailable flags. */
export interface ConfigSpec<C extends TrainConfig> {
  schema: z.ZodType<C>;
  validate(config: C): Problem[];
  notYet: readonly NotYet[];
}

export const trainConfigSpec: ConfigSpec<TrainConfig> = {
  schema: trainConfigSchema,
  validate: validateTrain,
  notYet: [...LEROBOT_FLAGS_NOT_YET, ...ENVIRONMENT_FLAGS_NOT_YET],
};

interface ResolvedConfig<C> {
  config: C;
  /** LeRobot flags that were given and change nothing here, one line per reason. */
  ignored: string[];
}

/**
 * Turns a plain object (files and flags merged) into the effective training configuration.
 *
 * Fills in the policy's optimiser and schedule (fields that were given win over the preset, where LeRobot drops them
 * silently), `job_name` and `output_dir`, then checks everything. Pure but for the clock, which `now` replaces.
 *
 * @throws ConfigError with every problem found.
 */
export function resolveTrainConfig<C extends TrainConfig>(
  plain: PlainObject,
  spec: ConfigSpec<C>,
  now: Date = new Date(),
): ResolvedConfig<C> {
  const { plain: known, ignored, problems } = removeNotYet(withOwnNames(plain), spec.notYet);
  const { filled, problems: missing } = fillPresets({ dataset: {}, policy: {}, ...known });
  const jobName = typeof filled.job_name === 'string' ? filled.job_name : policyType(filled.policy);
  filled.job_name ??= jobName;
  filled.output_dir ??= defaultOutputDir(jobName, now);
  const checked = checkConfig(spec.schema, filled, (config) => spec.validate(config));
  const all = [...problems, ...missing, ...checked.problems.map(orPolicyPath)];
  if (checked.config === null || all.length > 0) throw new ConfigError(all);
  return { config: checked.config, ignored };
}

/** `train_config.json` of a checkpoint, such that LeRobot reads it: it refuses fields that it does not know. */
export function trainConfigFile(given: TrainConfig): PlainObject {
  // How images are seen and statistics are chosen only matters where a run starts.
  const { normalization_stats: _, gradient_accumulation_steps: steps, peft, ...config } = given;
  const { cameras: _cameras, image_size: _size, frame_cache: _cache, mixture, ...own } = config.dataset;
  return {
    ...config,
    ...(steps === 1 ? {} : { accelerator: { gradient_accumulation: { steps } } }),
    dataset: mixture === null ? own : { ...own, mixture },
    policy: portablePolicyConfig(config.policy),
    ...(peft === null ? {} : { peft: peftForLeRobot(peft) }),
  };
}

/** LeRobot's nested name of a field under the flat one; the flat one wins. */
function withOwnNames(plain: PlainObject): PlainObject {
  const steps = getPath(plain, ACCUMULATION);
  if (steps === undefined) return plain;
  const copy = structuredClone(plain);
  deletePath(copy, ACCUMULATION);
  copy.gradient_accumulation_steps ??= steps;
  return copy;
}

/** `outputs/train/2025-01-31/12-00-00_act`, in local time as LeRobot writes it. */
function defaultOutputDir(jobName: string, now: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join('-');
  return join('outputs', 'train', date, `${time}_${jobName}`);
}

function fillPresets(plain: PlainObject): { filled: PlainObject; problems: Problem[] } {
  const policy = policyConfigSchema.safeParse(plain.policy);
  // An invalid policy is reported by the next check; until then any preset will do.
  const presets = policy.success ? policyPresets(policy.data) : { optimizer: ANY_OPTIMIZER, scheduler: null };
  if (plain.use_policy_training_preset !== false) {
    const scheduler =
      plain.scheduler === undefined ? presets.scheduler : overPreset(presets.scheduler, plain.scheduler);
    return {
      filled: { ...plain, optimizer: overPreset(presets.optimizer, plain.optimizer ?? {}), scheduler },
      problems: [],
    };
  }
  const filled = { ...plain, scheduler: plain.scheduler ?? null };
  if (isPlainObject(plain.optimizer)) return { filled, problems: [] };
  const message = 'missing, use_policy_training_preset=false needs --optimizer.type=adamw and its fields';
  return {
    filled: { ...filled, optimizer: ANY_OPTIMIZER },
    problems: [{ field: 'optimizer', found: undefined, message }],
  };
}

function orPolicyPath(problem: Problem): Problem {
  if (problem.field !== 'policy.type' || problem.found !== undefined) return problem;
  return { ...problem, message: `${problem.message}, or --policy.path with the folder of a trained policy` };
}

const ANY_OPTIMIZER = { type: 'adamw' };

/** Given fields override the preset's; if they name another type, the preset is ignored. */
function overPreset(preset: OptimizerConfig | SchedulerConfig | PlainObject | null, given: unknown): unknown {
  if (!isPlainObject(given) || preset === null) return given;
  return given.type === undefined || given.type === preset.type ? { ...preset, ...given } : given;
}

function policyType(policy: unknown): string {
  return isPlainObject(policy) && typeof policy.type === 'string' ? policy.type : 'policy';
}
