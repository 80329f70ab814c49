import type { CraftConfig } from '@craft-ft/craft/config';
import { METHODS } from '@craft-ft/craft/methods';
import { getPath, isPlainObject, type PlainObject, setPath } from '@craft-ft/datasets/json';
import { listFields, type Problem } from '@craft-ft/policies/config';
import {
  type ConfigSpec,
  LEROBOT_FLAGS_NOT_YET,
  RESUME_RULES,
  type ResumeRules,
  type TrainConfig,
  type TrainingMethod,
  trainConfigSchema,
  validateTrain,
} from '@craft-ft/training/config';
import { z } from 'zod';
import {
  EVALUATION_FLAGS_NOT_YET,
  type EvaluationConfig,
  evaluationFields,
  validateEvaluation,
} from './evaluation-config.js';
import type { Flag, FlagTable } from './flags.js';

/** Methods that have fields of their own. */
const CONFIGURED = METHODS.filter(({ schema }) => schema !== null);

/** Configuration of `craft train`: LeRobot's training fields, those of evaluation, and a group for each method. */
const craftTrainConfigSchema = z.strictObject({
  ...trainConfigSchema.shape,
  ...evaluationFields,
  method: z
    .enum(METHODS.map(({ name }) => name))
    .default('baseline')
    .meta({
      description:
        `How the policy is trained. ${METHODS.map(({ name, about }) => `${name}: ${about}`).join('; ')}. Its settings are the fields of ` +
        'that name, such as --replay.weight. --craft.enabled=true says the same as --method=craft.',
      defaultText: 'baseline, or craft with craft.enabled=true',
    }),
  ...Object.fromEntries(
    CONFIGURED.map(({ name, title, about, schema }) => [
      name,
      schema!.prefault({}).describe(`${title}: ${about}.`),
    ]),
  ),
}) as unknown as z.ZodType<CraftTrainConfig>;

export type CraftTrainConfig = TrainConfig &
  EvaluationConfig & {
    /** Name of one of `METHODS`. */
    method: string;
    craft: CraftConfig;
  };

/** The configuration of a method within that of a run. */
export function configOf(config: CraftTrainConfig, { name }: TrainingMethod): unknown {
  return (config as unknown as Record<string, unknown>)[name];
}

/** The method of a run. */
export function methodOf(config: CraftTrainConfig): TrainingMethod {
  return METHODS.find(({ name }) => name === config.method)!;
}

/** The fields of a configuration that apply to the run's method: without the groups of other methods. */
export function ownFields(config: CraftTrainConfig): PlainObject {
  const others = CONFIGURED.filter(({ name }) => name !== config.method).map(({ name }) => name);
  return Object.fromEntries(
    Object.entries(config).filter(([field]) => field !== 'method' && !others.includes(field)),
  );
}

/** LeRobot's part of a configuration. */
export function plainFields(config: CraftTrainConfig): TrainConfig {
  const fields = Object.keys(trainConfigSchema.shape);
  return Object.fromEntries(
    Object.entries(config).filter(([field]) => fields.includes(field)),
  ) as TrainConfig;
}

export const craftTrainSpec: ConfigSpec<CraftTrainConfig> = {
  schema: craftTrainConfigSchema,
  validate: (config) => [
    ...validateTrain(config),
    ...validateEvaluation(config),
    ...CONFIGURED.flatMap(
      (method) => method.validate?.(configOf(config, method), method.name === config.method) ?? [],
    ),
  ],
  notYet: [
    ...LEROBOT_FLAGS_NOT_YET,
    ...EVALUATION_FLAGS_NOT_YET,
    ...METHODS.flatMap(({ notYet }) => notYet ?? []),
  ],
};

/** File of a checkpoint that holds a method's configuration: LeRobot rejects unknown fields in its own. */
export const methodFile = ({ name }: TrainingMethod): string => `${name}_config.json`;

/** What may differ between a run (`saved`) and its continuation. */
export function resumeRules(config: CraftTrainConfig, saved: CraftTrainConfig): ResumeRules {
  const under = (list: 'free' | 'warned') =>
    CONFIGURED.flatMap(({ name, resume }) => (resume?.[list] ?? []).map((field) => `${name}.${field}`));
  const method = methodOf(config);
  // The number of steps matters only to what is scheduled over the whole run.
  const stretched = config.scheduler !== null || method.followsSteps?.(configOf(config, method)) === true;
  // A switch of the method differs too, and is what the user knows.
  const told = [config, saved].some((each) => methodOf(each).switchedOnBy !== undefined);
  return {
    free: [
      ...(told ? ['method'] : []),
      ...RESUME_RULES.free,
      'env',
      'eval_freq',
      'eval',
      ...under('free'),
      ...(stretched ? [] : ['steps']),
    ],
    warned: [...RESUME_RULES.warned, ...under('warned')],
  };
}

/**
 * Fills in `method` and the older switch that means the same (`craft.enabled`), whichever is missing. Changes `tree`.
 *
 * @returns problems where they disagree, and for settings of a method that is not selected, which would be dropped silently. (A file that
 * names its method may hold those of others.)
 */
export function chooseMethod(tree: PlainObject, flags: readonly Flag[] = []): Problem[] {
  const given = tree.method;
  const flagged = (group: string) => flags.some((flag) => flag.name.startsWith(`${group}.`));
  const problems: Problem[] = [];
  for (const { name, switchedOnBy } of CONFIGURED) {
    const [setting] = isPlainObject(tree[name]) ? Object.keys(tree[name]) : [];
    const path = `${name}.${switchedOnBy}`;
    const on = switchedOnBy === undefined ? undefined : getPath(tree, path);
    if (given === name && switchedOnBy !== undefined) {
      if (on === false)
        problems.push({ field: path, found: on, message: `expected true with method=${name}` });
      else if (on === undefined) setPath(tree, path, true);
    } else if (switchedOnBy === undefined) {
      if (setting === undefined || given === name || (given !== undefined && !flagged(name))) continue;
      problems.push({
        field: 'method',
        found: given,
        message: `expected ${name}, since ${name}.${setting} is given`,
      });
    } else if (on === true) {
      if (given === undefined) tree.method = name;
      else
        problems.push({ field: 'method', found: given, message: `expected ${name}, since ${path} is true` });
    } else if (on === undefined && setting !== undefined) {
      const message = `missing, but ${name}.${setting} is given: add --${path}=true (or =false to set it aside)`;
      problems.push({ field: path, found: undefined, message });
    }
  }
  return problems;
}

/** Every flag of `craft train`. */
export function trainFlags(): FlagTable {
  return {
    fields: listFields(craftTrainConfigSchema),
    notYet: craftTrainSpec.notYet,
    special: [
      {
        name: 'config_path',
        type: 'JSON or YAML file, checkpoint or run folder',
        description: 'Configuration to start from; every flag given overrides it.',
      },
      {
        name: 'policy.path',
        type: 'policy, checkpoint or run folder',
        description:
          'Policy to fine-tune: its configuration and weights; every other --policy.* flag overrides its configuration.',
      },
    ],
  };
}
