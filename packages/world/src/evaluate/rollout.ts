import { join } from 'node:path';
import { setImmediate as nextTick } from 'node:timers/promises';
import { VideoEncoder, type VideoEncoding } from '@craft-ft/datasets';
import type { Policy, PolicyProcessors, TensorBatch } from '@craft-ft/policies';
import { fromTypedArray, makeFolder, StagedFile, scope } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { Observation } from '../environment.js';
import type { VectorEnvironment } from '../vector-environment.js';
import type { EnvironmentDescription } from '../workers/host.js';
import { policyKeys } from './match-policy.js';

/** A policy with its processors, ready to act. */
export interface Actor {
  policy: Policy;
  processors: PolicyProcessors;
}

/** The result of an episode. */
export interface EpisodeResult {
  /** Number among the task's episodes. */
  episode: number;
  /** Seed of its start: the same start for every policy. */
  seed: number;
  success: boolean;
  steps: number;
  sum_reward: number;
  max_reward: number;
  /** Tasks that were done at the end, requested or not: an object in the wrong bin shows up here. */
  achieved: readonly string[];
  /** Path of its video; null if none was requested. */
  video: string | null;
}

interface RolloutOptions {
  /** Number of the first episode. */
  first: number;
  seeds: readonly number[];
  renameMap: Readonly<Record<string, string>>;
  videos: EpisodeVideos | null;
  /** Called when an episode is over. */
  onEpisode?: (result: EpisodeResult) => void;
  /** When aborted, the episodes are abandoned. */
  signal?: AbortSignal;
}

/**
 * Runs episodes in parallel and in lockstep, with one forward pass of the policy for all. Finished episodes keep their place in the batch,
 * with their last observation and an unused action, so that the policy's action queue stays aligned. Images are rendered only when the
 * policy looks at them.
 *
 * @returns null if `signal` was aborted: only the episodes that end quickly would be counted
 * @throws CraftError `ENV_ACTION` if the policy outputs numbers that are not finite
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
    // Signals are delivered only between steps.
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

/**
 * Observations of several environments as one batch for a policy's processors: numbers [B, n], images float32 [B, 3, H, W] from 0 to 1
 * (LeRobot's `preprocess_observation`). A key that is missing from one of the observations is left out: images that were not rendered.
 *
 * @param renameMap environment key to policy key
 */
export function observationBatch(
  observations: readonly Observation[],
  description: EnvironmentDescription,
  renameMap: Readonly<Record<string, string>> = {},
): TensorBatch {
  const batch: TensorBatch = {};
  const { observationFeatures: features } = description;
  for (const [key, name] of policyKeys(Object.keys(features), renameMap)) {
    const { dtype, shape } = features[key]!;
    if (observations.some((observation) => observation[key] === undefined)) continue;
    const width = shape.reduce((product, size) => product * size, 1);
    const all = new Float32Array(observations.length * width);
    observations.forEach((observation, i) => {
      const values = observation[key]!;
      const to = all.subarray(i * width, (i + 1) * width);
      if (dtype === 'uint8') channelsFirst(values, to);
      else to.set(values);
    });
    const [height = 0, columns = 0, channels = 0] = shape;
    const sizes = dtype === 'uint8' ? [channels, height, columns] : shape;
    batch[name] = fromTypedArray(all, [observations.length, ...sizes]);
  }
  return batch;
}

function channelsFirst(rgb: ArrayLike<number>, to: Float32Array): void {
  const pixels = to.length / 3;
  for (let pixel = 0; pixel < pixels; pixel++)
    for (let channel = 0; channel < 3; channel++)
      to[channel * pixels + pixel] = rgb[3 * pixel + channel]! / 255;
}

export interface VideoOptions {
  /** Folder for `<task>/eval_episode_<n>.mp4`, LeRobot's names. */
  folder: string;
  /** Numbers of the episodes to record, or how many from the first. */
  episodes: number | readonly number[];
  /** Height and width, even. Default [240, 320]. */
  size?: readonly [number, number];
  /** Default H.264, which every browser plays, a key frame every 25 frames. */
  encoding?: VideoEncoding;
}

/** A video in progress: an earlier evaluation's file of that name stays until the new one is complete. */
interface Film {
  encoder: VideoEncoder;
  file: StagedFile;
}

/** Records videos of selected episodes of a task. */
export class EpisodeVideos {
  readonly #folder: string;
  readonly #options: VideoOptions;
  readonly #fps: number;
  readonly #films = new Map<number, Film>();

  constructor(options: VideoOptions, task: string, fps: number) {
    this.#options = options;
    this.#folder = join(options.folder, task);
    this.#fps = fps;
  }

  /** Path of an episode's video; null if it is not recorded. */
  path(episode: number): string | null {
    const { episodes } = this.#options;
    const wanted = typeof episodes === 'number' ? episode < episodes : episodes.includes(episode);
    return wanted ? join(this.#folder, `eval_episode_${episode}.mp4`) : null;
  }

  /** Adds an image of each of the given environments; `first` is the episode of environment 0. */
  async film(environments: VectorEnvironment, slots: readonly number[], first: number): Promise<void> {
    const [height, width] = this.#options.size ?? [240, 320];
    const pictures = await environments.render(slots, width, height);
    slots.forEach((slot, i) => {
      this.#film(first + slot, width, height).encoder.add(pictures[i]!);
    });
  }

  async finish(episode: number): Promise<void> {
    const film = this.#films.get(episode);
    if (film === undefined) return;
    await film.encoder.finish();
    film.file.flush().commit();
    this.#films.delete(episode);
  }

  /** Discards unfinished videos. */
  abort(): void {
    for (const { encoder, file } of this.#films.values()) {
      encoder.abort();
      file.discard();
    }
    this.#films.clear();
  }

  #film(episode: number, width: number, height: number): Film {
    const known = this.#films.get(episode);
    if (known !== undefined) return known;
    makeFolder(this.#folder);
    const encoding = this.#options.encoding ?? { codec: 'h264', g: 25, crf: 23 };
    const file = new StagedFile(this.path(episode)!);
    const encoder = VideoEncoder.create(file.temporary, { width, height, fps: this.#fps, ...encoding });
    const made = { encoder, file };
    this.#films.set(episode, made);
    return made;
  }
}
