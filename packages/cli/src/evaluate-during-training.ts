import { SUCCESS, type TrainEvaluation, type TrainingRun } from '@craft-ft/training';
import type { EvaluationConfig } from './evaluation-config.js';
import { commaList } from './flags.js';

/**
 * Evaluates the policy of a run on the tasks of `env`, always from the same starts.
 *
 * @param seed of the first episode
 * @returns null if the configuration requests no evaluation
 * @throws CraftError `POLICY_ENVIRONMENT` if the policy does not fit the environment, before training starts
 */
export async function evaluateDuringTraining(
  { policy, processors }: Pick<TrainingRun, 'policy' | 'processors'>,
  { env, eval_freq: freq, eval: { n_episodes: nEpisodes, batch_size: size } }: EvaluationConfig,
  { seed, renameMap }: { seed: number; renameMap: Readonly<Record<string, string>> },
): Promise<TrainEvaluation | null> {
  if (env === null || freq === 0) return null;
  const { checkPolicyFits, evaluatePolicy, makeEnvironment, specForPolicy } = await import('@craft-ft/world');
  const tasks = commaList(env.task);
  const spec = specForPolicy(policy.config, { type: env.type, task: tasks[0]! }, renameMap);
  const environment = await makeEnvironment(spec);
  try {
    checkPolicyFits(policy.config, environment, renameMap);
  } finally {
    environment.dispose();
  }
  processors.follow(policy);
  return {
    freq,
    evaluate: async (_step, signal) => {
      const result = await evaluatePolicy({
        policy,
        processors,
        type: env.type,
        tasks,
        nEpisodes,
        ...(size === 0 ? {} : { batchSize: size }),
        // A training seed may have more bits than a start seed.
        seed: seed % 2 ** 31,
        renameMap,
        ...(signal === undefined ? {} : { signal }),
      });
      // A success rate over fewer episodes would not be comparable with the others.
      if (result.interrupted) return null;
      const { per_task: results, overall } = result;
      const rates = results.map(({ task, pc_success: percent }) => [SUCCESS + task, percent] as const);
      return { ...Object.fromEntries(rates), eval_s: overall.eval_s };
    },
  };
}
