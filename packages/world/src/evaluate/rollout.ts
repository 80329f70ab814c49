import { setImmediate as nextTick } from 'node:timers/promises';
import type { Policy, PolicyProcessors } from '@craft-ft/policies';
import { scope } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { Observation } from '../environment.js';
import type { VectorEnvironment } from '../vector-environment.js';
import type { EnvironmentDescription } from '../workers/host.js';
import type { EpisodeVideos } from './episode-videos.js';
import { observationBatch } from './observe.js';

/** A policy with its processors, ready to act. */
export interface Actor {
  policy: Policy;
  processors: PolicyProcessors;
}

/** How an episode went. */
export interface EpisodeResult {
  /** Number among the task's episodes. */
  episode: number;
  /** Seed of its start: the same start for every policy. */
  seed: number;
  success: boolean;
  steps: number;
  sum_reward: number;
  max_reward: number;
  /** Tasks that counted as done at the end, asked for or not: an object in the wrong bin shows here. */
  achieved: readonly string[];
  /** Path of its video; null where none was asked for. */
  video: string | null;
}

export interface RolloutOptions {
  /** Number of the first episode. */
  first: number;
  seeds: readonly number[];
  renameMap: Readonly<Record<string, string>>;
  videos: EpisodeVideos | null;
  /** Called when an episode is over. */
  onEpisode?: (result: EpisodeResult) => void;
  /** When aborted, the episodes are given up. */
  signal?: AbortSignal;
}

/**
 * Episodes side by side, in lockstep: one forward pass of the policy for all. Episodes that are over keep their place in the batch, with
 * their last observation and their action unused, so that the policy's queue of actions stays aligned. Pictures are drawn only where the
 * policy looks at them.
 *
 * @returns null where `signal` was aborted: only those that are over quickly would be counted
 * @throws CraftError `ENV_ACTION` for a policy that puts out numbers that are not finite
 */
export async function rollout(
  { policy, processors }: Actor,
  environments: VectorEnvironment,
  { first, seeds, renameMap, videos, onEpisode, signal }: RolloutOptions,
): Promise<EpisodeResult[] | null> {
  const { description } = environments;
  const starts = await environments.reset(seeds);
  const observations: Observation[] = starts.map(({ observation }) => observation);
  const results = seeds.map(
    (seed, i): EpisodeResult => ({
      episode: first + i,
      seed,
      success: false,
      steps: 0,
      sum_reward: 0,
      max_reward: 0,
      achieved: starts[i]!.info.achieved,
      video: videos?.path(first + i) ?? null,
    }),
  );
  const running = seeds.map(() => true);
  const filmed = seeds.map((_, i) => i).filter((i) => results[i]!.video !== null);
  const texts = { task: seeds.map(() => description.instruction) };
  policy.reset();
  while (running.includes(true)) {
    // Signals only get their turn between steps.
    await nextTick();
    if (signal?.aborted === true) return null;
    const shown = filmed.filter((i) => running[i]);
    if (shown.length > 0) await videos!.film(environments, shown, first);
    const actions = scope(() => {
      const batch = processors.preprocess(observationBatch(observations, description, renameMap), texts);
      return processors.postprocess(policy.selectAction(batch)).to('float32').toTypedArray() as Float32Array;
    });
    const width = actions.length / seeds.length;
    const chosen = running.map((on, i) => (on ? actions.slice(i * width, (i + 1) * width) : null));
    chosen.forEach((action, i) => {
      if (action !== null) requireFinite(action, description, results[i]!);
    });
    const steps = await environments.step(chosen, { cameras: policy.queuedActions === 0 });
    steps.forEach((step, i) => {
      if (step === null) return;
      const result = results[i]!;
      observations[i] = step.observation;
      running[i] = !step.terminated && !step.truncated;
      result.steps++;
      result.sum_reward += step.reward;
      result.max_reward = Math.max(result.max_reward, step.reward);
      result.success = step.info.success;
      result.achieved = step.info.achieved;
    });
    const over = filmed.filter((i) => steps[i] !== null && !running[i]);
    if (over.length > 0) {
      await videos!.film(environments, over, first);
      for (const i of over) await videos!.finish(first + i);
    }
    steps.forEach((step, i) => {
      if (step !== null && !running[i]) onEpisode?.(results[i]!);
    });
  }
  return results;
}

function requireFinite(
  action: Float32Array,
  { task, actionFeature }: EnvironmentDescription,
  { episode, seed, steps }: EpisodeResult,
): void {
  const bad = action.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const name = actionFeature.names[bad] ?? `number ${bad}`;
  throw new CraftError(
    'ENV_ACTION',
    `${task}, episode ${episode} (seed ${seed}), step ${steps}: the policy's action has ${name} = ${action[bad]}; ` +
      'its training diverged, or a normalisation statistic is wrong: craft eval-loss tells which data it still fits',
  );
}
