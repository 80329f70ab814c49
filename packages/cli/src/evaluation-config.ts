import type { PlainObject } from '@craft-ft/datasets/json';
import type { Problem } from '@craft-ft/policies/config';
import type { NotYet } from '@craft-ft/training/config';
import { TABLETOP_TASKS } from '@craft-ft/world/names';
import { z } from 'zod';
import { unknownWords } from './flags.js';

/**
 * The evaluation fields, next to `train_config.json` in a checkpoint: they belong to an environment that LeRobot does not know, and LeRobot
 * must still be able to continue the run.
 */
export const EVALUATION_CONFIG_FILE = 'evaluation_config.json';

/** Fields of `craft train` for evaluation during training. */
export const evaluationFields = {
  env: z
    .discriminatedUnion('type', [
      z.strictObject({
        type: z
          .literal('tabletop')
          .describe('an arm at a table with cubes, bins and a button, in simulation'),
        task: z
          .string()
          .describe(`Tasks, separated by commas, the old and the new one: ${TABLETOP_TASKS.join(', ')}.`),
      }),
    ])
    .nullable()
    .default(null)
    .describe('Environment that the policy is tried in during training. null: none.'),
  eval_freq: z
    .int()
    .min(0)
    .default(20_000)
    .describe(
      'Steps between two evaluations in env; the last step is always evaluated. 0: none. Evaluation changes nothing of the ' +
        'training. Also called env_eval_freq.',
    ),
  eval: z
    .strictObject({
      n_episodes: z.int().min(1).default(50).describe('Episodes of each task in an evaluation.'),
      batch_size: z
        .int()
        .min(0)
        .default(50)
        .describe('Episodes side by side: one forward pass for all. 0: all, at most 50.'),
    })
    .prefault({}),
};

/** LeRobot's evaluation flags that have no effect here. */
export const EVALUATION_FLAGS_NOT_YET: readonly NotYet[] = [
  { flag: 'eval.use_async_envs', off: 'any', reason: 'environments always run in worker threads' },
];

const evaluationSchema = z.strictObject(evaluationFields);
export type EvaluationConfig = z.infer<typeof evaluationSchema>;

/** Validation rules for these fields. */
export function validateEvaluation({ env }: EvaluationConfig): Problem[] {
  return env === null ? [] : unknownWords('env.task', env.task, TABLETOP_TASKS);
}

/** Renames LeRobot's newer field to the name used here, in a configuration read from a file. Changes `tree`. */
export function renameEvaluationFields(tree: PlainObject): void {
  if (tree.env_eval_freq === undefined) return;
  tree.eval_freq ??= tree.env_eval_freq;
  delete tree.env_eval_freq;
}
