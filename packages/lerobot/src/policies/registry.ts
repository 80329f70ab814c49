import { z } from 'zod';
import { checkConfig } from '../configs/check.js';
import type { OptimizerConfig, SchedulerConfig } from '../configs/optim.js';
import { ConfigError, type Problem } from '../configs/problem.js';
import {
  actConfigSchema,
  actDeltaIndices,
  actOptimizerPreset,
  actSchedulerPreset,
  validateAct,
} from './act/configuration.js';

/** Configuration of any policy, told apart by `type`. A new policy is added here and in `POLICIES`, nowhere else. */
export const policyConfigSchema = z.discriminatedUnion('type', [actConfigSchema]);
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
}

const POLICIES: { [T in PolicyType]: PolicyEntry<Extract<PolicyConfig, { type: T }>> } = {
  act: {
    validate: validateAct,
    optimizerPreset: actOptimizerPreset,
    schedulerPreset: actSchedulerPreset,
    deltaIndices: actDeltaIndices,
  },
};

/** The types that `--policy.type` accepts. */
export const POLICY_TYPES = Object.keys(POLICIES) as PolicyType[];

/** Rules between the fields of a policy's configuration. */
export function validatePolicy(config: PolicyConfig): Problem[] {
  return POLICIES[config.type].validate(config);
}

/** The optimiser and learning-rate schedule that belong to a policy. */
export function policyPresets(config: PolicyConfig): {
  optimizer: OptimizerConfig;
  scheduler: SchedulerConfig | null;
} {
  const entry = POLICIES[config.type];
  return { optimizer: entry.optimizerPreset(config), scheduler: entry.schedulerPreset(config) };
}

/** The frames that a sample for this policy is made of. */
export function policyDeltaIndices(config: PolicyConfig): DeltaIndices {
  return POLICIES[config.type].deltaIndices(config);
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
