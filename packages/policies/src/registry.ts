import { join } from 'node:path';
import { findPolicyDir, type PlainObject, readJsonObject } from '@craft-ft/datasets/json';
import { z } from 'zod';
import { act } from './act/index.js';
import { ConfigError, checkConfig, type Problem } from './config/check.js';
import type { OptimizerConfig, SchedulerConfig } from './config/optim.js';
import { pi0Fast } from './pi0_fast/index.js';
import type { RelativeActions } from './processors/relative-actions.js';
import type { DeltaIndices, PolicyRegistration } from './registration.js';

/** All policies. A new one is a folder and a line here. */
export const POLICIES = [act, pi0Fast] as const;

type SchemasOf<T extends readonly { schema: unknown }[]> = { -readonly [I in keyof T]: T[I]['schema'] };

/** Configuration of any policy, told apart by `type`. */
export const policyConfigSchema = z.discriminatedUnion(
  'type',
  POLICIES.map(({ schema }) => schema) as unknown as SchemasOf<typeof POLICIES>,
);
export type PolicyConfig = z.infer<(typeof POLICIES)[number]['schema']>;
type PolicyType = PolicyConfig['type'];
type AnyRegistration = PolicyRegistration<z.ZodType<PolicyConfig>>;

const BY_TYPE = new Map<string, AnyRegistration>(
  // A registration is only ever given configurations of its own schema.
  POLICIES.map((one) => [one.schema.shape.type.value, one as unknown as AnyRegistration]),
);

/** The types that `--policy.type` accepts. */
export const POLICY_TYPES = [...BY_TYPE.keys()] as PolicyType[];

/** The registration of a policy; undefined for an unknown type. */
export function findRegistration(type: string): AnyRegistration | undefined {
  return BY_TYPE.get(type);
}

/** The registration of a configuration's policy. */
export function registrationOf({ type }: { type: PolicyType }): AnyRegistration {
  return BY_TYPE.get(type)!;
}

/** Rules between the fields of a policy's configuration. */
export function validatePolicy(config: PolicyConfig): Problem[] {
  return registrationOf(config).validate(config);
}

/** A policy's default optimiser and learning-rate schedule. */
export function policyPresets(config: PolicyConfig): {
  optimizer: OptimizerConfig;
  scheduler: SchedulerConfig | null;
} {
  const registration = registrationOf(config);
  return {
    optimizer: registration.optimizerPreset(config),
    scheduler: registration.schedulerPreset(config),
  };
}

/** The frames that make up a sample for this policy. */
export function policyDeltaIndices(config: PolicyConfig): DeltaIndices {
  return registrationOf(config).deltaIndices(config);
}

/** Which actions are relative to the state, and so need statistics of their own; null: none. */
export function policyRelativeActions(config: PolicyConfig): RelativeActions | null {
  return registrationOf(config).relativeActions?.(config) ?? null;
}

/** Whether a policy has a language model that can answer questions. */
export function hasLanguageModel(type: PolicyType): boolean {
  return findRegistration(type)?.languageModel !== undefined;
}

/**
 * Downloads the weights that a new policy starts from if its configuration names a Hub repository (such as timm/resnet18.tv_in1k),
 * and names the file instead. Any other configuration is returned unchanged.
 *
 * @throws CraftError as `downloadPolicy`
 */
export async function fetchBackbone(config: PolicyConfig): Promise<PolicyConfig> {
  return (await registrationOf(config).fetchBackbone?.(config)) ?? config;
}

/**
 * Downloads the tokenisers that a policy names and checks them, so that mistakes show before gigabytes of weights are read. Call it
 * before the policy and its processors are made. Does nothing for policies without language.
 *
 * @throws CraftError as `fetchTokenizer`; `TOKENIZER_…` if they do not fit together, or do not fit the model
 */
export async function fetchPolicyTokenizers(
  config: PolicyConfig,
  onWarning: (message: string) => void = console.warn,
): Promise<void> {
  await registrationOf(config).fetchTokenizers?.(config, onWarning);
}

/**
 * Points a policy's fields to the files in its checkpoint if the files they name do not exist: the checkpoint may have come from
 * another machine.
 *
 * @param dir the checkpoint's folder
 */
export function withOwnFiles(fields: PlainObject, dir: string): PlainObject {
  return findRegistration(String(fields.type))?.findOwnFiles?.(fields, dir) ?? fields;
}

/**
 * A policy's configuration as written to files: without the fields that LeRobot would reject, unless the policy uses them.
 */
export function portablePolicyConfig(config: PolicyConfig): Partial<PolicyConfig> {
  const neutral = Object.entries(registrationOf(config).extensions);
  const dropped = neutral.filter(([name, value]) => config[name as keyof PolicyConfig] === value);
  const names = new Set(dropped.map(([name]) => name));
  return Object.fromEntries(Object.entries(config).filter(([name]) => !names.has(name)));
}

/**
 * Checks a parsed `config.json`, whether LeRobot or this project wrote it.
 *
 * @param source the file it came from, for the message.
 * @throws ConfigError with every problem.
 */
export function parsePolicyConfig(plain: unknown, source: string): PolicyConfig {
  const { config, problems } = checkConfig(policyConfigSchema, plain, validatePolicy);
  if (config === null) throw new ConfigError(problems, source);
  return config;
}

/** Reads and checks the `config.json` of a policy folder, checkpoint or run. */
export function readPolicyConfig(path: string): { dir: string; config: PolicyConfig } {
  const dir = findPolicyDir(path);
  const file = join(dir, 'config.json');
  return { dir, config: parsePolicyConfig(withOwnFiles(readJsonObject(file), dir), file) };
}
