import { wilsonInterval } from '@craft-ft/policies';
import { CraftError } from '@craft-ft/torch/errors';
import type { EnvironmentType } from '../names.js';
import { VectorEnvironment } from '../vector-environment.js';
import { EnvironmentThreads } from '../workers/pool.js';
import { checkPolicyFits, specForPolicy } from './match-policy.js';
import { type Actor, type EpisodeResult, EpisodeVideos, rollout, type VideoOptions } from './rollout.js';

/** Options of {@link evaluatePolicy}. */
export interface EvaluateOptions extends Actor {
  /** Default `tabletop`. */
  type?: EnvironmentType;
  tasks: readonly string[];
  /** Episodes of each task. Default 50. */
  nEpisodes?: number;
  /** Episodes run in parallel. Default: all, at most 50. */
  batchSize?: number;
  /** Seed of the first episode; episode i has `seed + i`. Default 1000, LeRobot's. */
  seed?: number;
  /** Environment key to policy key. */
  renameMap?: Readonly<Record<string, string>>;
  /** Worker threads; 0: none. Default: one per core. */
  workers?: number;
  /** Which episodes are recorded as videos. Default none. */
  videos?: VideoOptions;
  /** Called when an episode is over. */
  onProgress?: (progress: EvaluationProgress) => void;
  /** When aborted, the current task is abandoned. */
  signal?: AbortSignal;
}

export interface EvaluationProgress {
  task: string;
  /** Completed out of `total`, over all tasks. */
  episodes: number;
  total: number;
  /** Of this task so far. */
  successes: number;
}

/** Summary of many episodes. */
export interface EvaluationSummary {
  n_episodes: number;
  successes: number;
  /** Per cent, as in LeRobot. */
  pc_success: number;
  /** 95 % interval of `pc_success` (Wilson). */
  pc_success_interval: readonly [number, number];
  avg_sum_reward: number;
  avg_max_reward: number;
}

export interface TaskEvaluation extends EvaluationSummary {
  task: string;
  instruction: string;
  per_episode: EpisodeResult[];
}

export interface Evaluation {
  /** Stopped before all tasks were done; unfinished tasks are missing. */
  interrupted: boolean;
  per_task: TaskEvaluation[];
  overall: EvaluationSummary & { eval_s: number; eval_ep_s: number };
}

/**
 * Evaluates a policy on tasks, with the same starts for every policy. The environment renders the cameras that the policy expects, at its
 * image size.
 *
 * @throws CraftError `POLICY_ENVIRONMENT` if policy and environment do not fit, `ENV_TASK`, `EVAL_OPTIONS`; `ENV_ACTION` if the policy
 * outputs numbers that are not finite
 *
 * @example
 * ```ts
 * const { per_task } = await evaluatePolicy({ policy, processors, tasks: ['place-in-red-bin', 'place-in-blue-bin'] });
 * for (const { task, pc_success, pc_success_interval } of per_task) console.log(task, pc_success, pc_success_interval);
 * ```
 */
export async function evaluatePolicy(options: EvaluateOptions): Promise<Evaluation> {
  const { policy, tasks, type, nEpisodes = 50, seed = 1000, renameMap = {}, signal } = options;
  const batchSize = Math.min(nEpisodes, options.batchSize ?? 50);
  for (const [name, value] of Object.entries({ nEpisodes, batchSize, tasks: tasks.length })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new CraftError('EVAL_OPTIONS', `${name} must be a whole number from 1 on, not ${value}`);
  }
  const begun = performance.now();
  const threads = new EnvironmentThreads(options.workers);
  const perTask: TaskEvaluation[] = [];
  const total = tasks.length * nEpisodes;
  let interrupted = false;
  try {
    for (const task of tasks) {
      const given = { task, ...(type === undefined ? {} : { type }) };
      const spec = specForPolicy(policy.config, given, renameMap);
      const environments = await VectorEnvironment.create(spec, batchSize, { threads });
      const { description } = environments;
      checkPolicyFits(policy.config, description, renameMap);
      const videos =
        options.videos === undefined ? null : new EpisodeVideos(options.videos, task, description.fps);
      const episodes: EpisodeResult[] = [];
      let over = 0;
      let successes = 0;
      const onEpisode = ({ success }: EpisodeResult) => {
        over++;
        if (success) successes++;
        options.onProgress?.({ task, episodes: perTask.length * nEpisodes + over, total, successes });
      };
      const common = { renameMap, videos, onEpisode, ...(signal === undefined ? {} : { signal }) };
      try {
        while (episodes.length < nEpisodes && !interrupted) {
          const first = episodes.length;
          const size = Math.min(batchSize, nEpisodes - first);
          const seeds = Array.from({ length: size }, (_, i) => seed + first + i);
          const results = await rollout(options, environments, { ...common, first, seeds });
          interrupted = results === null;
          episodes.push(...(results ?? []));
        }
      } finally {
        videos?.abort();
      }
      if (interrupted) break;
      const { instruction } = description;
      perTask.push({ task, instruction, ...summary(episodes), per_episode: episodes });
    }
  } finally {
    await threads.close();
  }
  const seconds = (performance.now() - begun) / 1000;
  const all = perTask.flatMap(({ per_episode }) => per_episode);
  const overall = { ...summary(all), eval_s: seconds, eval_ep_s: seconds / Math.max(1, all.length) };
  return { interrupted, per_task: perTask, overall };
}

function summary(episodes: readonly EpisodeResult[]): EvaluationSummary {
  const successes = episodes.filter(({ success }) => success).length;
  const [low, high] = wilsonInterval(successes, episodes.length);
  const mean = (of: (episode: EpisodeResult) => number) =>
    episodes.reduce((sum, episode) => sum + of(episode), 0) / Math.max(1, episodes.length);
  return {
    n_episodes: episodes.length,
    successes,
    pc_success: (100 * successes) / Math.max(1, episodes.length),
    pc_success_interval: [100 * low, 100 * high],
    avg_sum_reward: mean(({ sum_reward }) => sum_reward),
    avg_max_reward: mean(({ max_reward }) => max_reward),
  };
}
