import { z } from 'zod';
import {
  actConfigSchema,
  actDeltaIndices,
  actOptimizerPreset,
  actSchedulerPreset,
  validateAct,
} from './act/configuration.js';
import { ConfigError, checkConfig, type Problem } from './config/check.js';
import type { OptimizerConfig, SchedulerConfig } from './config/optim.js';
import {
  pi0FastConfigSchema,
  pi0FastDeltaIndices,
  pi0FastOptimizerPreset,
  pi0FastSchedulerPreset,
  validatePi0Fast,
} from './pi0_fast/configuration.js';

/** Configuration of any policy, told apart by `type`. A new policy is added here and in `POLICIES`, nowhere else. */
export const policyConfigSchema = z.discriminatedUnion('type', [actConfigSchema, pi0FastConfigSchema]);
export type PolicyConfig = z.infer<typeof policyConfigSchema>;
export type PolicyType = PolicyConfig['type'];

/** Offsets in frames, relative to the sampled frame, that a policy needs of each kind of key; null: the frame itself. */
export interface DeltaIndices {
  observation: number[] | null;
  action: number[] | null;
  reward: number[] | null;
}

interface PolicyEntry<C> {
  validate(config: C): Problem[];
  optimizerPreset(config: C): OptimizerConfig;
  schedulerPreset(config: C): SchedulerConfig | null;
  deltaIndices(config: C): DeltaIndices;
  /** Fields that LeRobot, or some version of it, does not have, with the value under which a policy is LeRobot's. */
  extensions: Partial<C>;
}

const POLICIES: { [T in PolicyType]: PolicyEntry<Extract<PolicyConfig, { type: T }>> } = {
  act: {
    validate: validateAct,
    optimizerPreset: actOptimizerPreset,
    schedulerPreset: actSchedulerPreset,
    deltaIndices: actDeltaIndices,
    extensions: { task_embedding_dim: 0 },
  },
  pi0_fast: {
    validate: validatePi0Fast,
    optimizerPreset: pi0FastOptimizerPreset,
    schedulerPreset: pi0FastSchedulerPreset,
    deltaIndices: pi0FastDeltaIndices,
    // Newer versions have dropped it; in those before, true is the default.
    extensions: { validate_action_token_prefix: true },
  },
};

// An entry takes its own type's configuration only, which is the one that its key was taken from.
function entryOf(config: PolicyConfig): PolicyEntry<PolicyConfig> {
  return POLICIES[config.type] as PolicyEntry<PolicyConfig>;
}

/** The types that `--policy.type` accepts. */
export const POLICY_TYPES = Object.keys(POLICIES) as PolicyType[];

/** Rules between the fields of a policy's configuration. */
export function validatePolicy(config: PolicyConfig): Problem[] {
  return entryOf(config).validate(config);
}

/** The optimiser and learning-rate schedule that belong to a policy. */
export function policyPresets(config: PolicyConfig): {
  optimizer: OptimizerConfig;
  scheduler: SchedulerConfig | null;
} {
  const entry = entryOf(config);
  return { optimizer: entry.optimizerPreset(config), scheduler: entry.schedulerPreset(config) };
}

/** The frames that a sample for this policy is made of. */
export function policyDeltaIndices(config: PolicyConfig): DeltaIndices {
  return entryOf(config).deltaIndices(config);
}

/**
 * A policy's configuration as files hold it: without the fields that LeRobot would refuse, unless the policy uses them.
 */
export function portablePolicyConfig(config: PolicyConfig): Partial<PolicyConfig> {
  const neutral = Object.entries(entryOf(config).extensions);
  const dropped = neutral.filter(([name, value]) => config[name as keyof PolicyConfig] === value);
  const names = new Set(dropped.map(([name]) => name));
  return Object.fromEntries(Object.entries(config).filter(([name]) => !names.has(name)));
}

/**
 * Checks a parsed `config.json`, by whichever of LeRobot or this project it was written.
 *
 * @param source the file it came from, for the message.
 * @throws ConfigError with every problem.
 */
export function parsePolicyConfig(plain: unknown, source: string): PolicyConfig {
  const { config, problems } = checkConfig(policyConfigSchema, plain, validatePolicy);
  if (config === null) throw new ConfigError(problems, source);
  return config;
}
