import { existsSync, rmSync } from 'node:fs';
import { type Frame, LeRobotDatasetWriter, looksLikeRepoId, type VideoEncoding } from '@craft-ft/datasets';
import { SFC32_SEEDS } from '@craft-ft/datasets/random';
import { CraftError } from '@craft-ft/torch/errors';
import { datasetFolder } from '@craft-ft/training';
import type { Demonstration } from './demonstrate.js';
import type { EnvironmentFeature } from './environment.js';
import { type EnvironmentSpec, makeEnvironment } from './make-environment.js';
import { describe } from './workers/host.js';
import { EnvironmentThreads } from './workers/pool.js';

/** What to record: {@link EnvironmentSpec} for several tasks. */
export interface RecordOptions extends Omit<EnvironmentSpec, 'task'> {
  /** Tasks, recorded one after the other. */
  tasks: readonly string[];
  /** Episodes of each task. */
  episodes: number;
  /** Folder to create. Default: below `$HF_LEROBOT_HOME`, by `repoId`. */
  root?: string | null;
  /** Name of the dataset, `user/name`; validated if it names the folder. */
  repoId: string;
  /** Seed of the first episode; the others follow. Default 0. */
  seed?: number;
  /** Unsteadiness of the arm, degrees; see `demonstrate`. Default 0.3. */
  noise?: number;
  /** Cameras as video (default), else as PNG files inside the data files. */
  video?: boolean;
  /** How video is encoded. Default LeRobot's: AV1. */
  encoding?: VideoEncoding;
  /** Worker threads; 0: none. Default: one per core. */
  workers?: number;
  /** Called after each saved episode. */
  onProgress?: (progress: RecordProgress) => void;
  /** Stops recording after the current episode; what is saved is a complete dataset. */
  signal?: AbortSignal;
}

export interface RecordProgress {
  /** Saved so far, of `total`. */
  episodes: number;
  total: number;
  frames: number;
  /** Failed attempts of the expert; they are not recorded. */
  failures: number;
}

export interface RecordResult extends RecordProgress {
  root: string;
}

/** Distance between the seeds of one task's episodes and the next task's. */
const NEXT_TASK = 100_000;
/** Episodes prepared ahead of the writer, per thread: enough to keep all busy, few enough for memory. */
const AHEAD = 2;

/**
 * Records scripted experts as a LeRobot v3.0 dataset: observations, the expert's actions, and the instruction as the task.
 * Episodes run in parallel and are written in order: the same options give the same numbers on any number of cores.
 *
 * @throws CraftError `RECORD_OPTIONS`, `HUB_REPO_ID`, and as `makeEnvironment`, `demonstrate` and the dataset writer (`DATASET_EXISTS`
 * for a folder that is not empty)
 *
 * @example
 * ```ts
 * await recordDataset({ tasks: ['place-in-red-bin'], episodes: 50, root: 'data/red', repoId: 'me/red', cameras: ['top'] });
 * ```
 */
export async function recordDataset(options: RecordOptions): Promise<RecordResult> {
  const { tasks, episodes, seed = 0, noise = 0.3, signal } = options;
  checkOptions(options);
  const root =
    options.root ??
    datasetFolder({ root: null, repo_id: options.repoId, episodes: null, exclude_episodes: null });
  const specs = tasks.map((task): EnvironmentSpec => specOf(options, task));
  const existed = existsSync(root);
  const writer = await createWriter(options, specs, root);
  const total = specs.length * episodes;
  const threads = new EnvironmentThreads(options.workers);
  const progress: RecordProgress = { episodes: 0, total, frames: 0, failures: 0 };
  const launch = (episode: number): Promise<Demonstration> => {
    const task = Math.floor(episode / episodes);
    const start = seed + task * NEXT_TASK + (episode % episodes);
    const running = threads.call(episode % threads.count, 'demonstrate', specs[task]!, {
      seed: start,
      noise,
    });
    // Handled when its turn comes.
    running.catch(() => {});
    return running;
  };
  const running: Promise<Demonstration>[] = [];
  try {
    let launched = 0;
    for (let episode = 0; episode < total && signal?.aborted !== true; episode++) {
      while (launched < total && launched < episode + AHEAD * threads.count) running.push(launch(launched++));
      const demonstration = await running.shift()!;
      await save(writer, demonstration);
      progress.episodes++;
      progress.frames += demonstration.length;
      progress.failures += demonstration.attempts - 1;
      options.onProgress?.({ ...progress });
    }
    if (progress.episodes > 0) writer.finalize();
  } catch (error) {
    // What is left of a failed first episode would block the next attempt.
    if (progress.episodes === 0 && !existed) discard(root);
    throw error;
  } finally {
    await threads.close();
  }
  return { root, ...progress };
}

function checkOptions({ tasks, episodes, seed = 0, root = null, repoId }: RecordOptions): void {
  const refuse = (message: string): never => {
    throw new CraftError('RECORD_OPTIONS', message);
  };
  if (tasks.length === 0) refuse('tasks is empty; expected the names of one or more');
  if (!Number.isInteger(episodes) || episodes < 1) {
    refuse(`episodes is ${episodes}; expected a whole number from 1 on`);
  }
  const last = seed + (tasks.length - 1) * NEXT_TASK + episodes - 1;
  if (!Number.isInteger(seed) || seed < 0 || last >= SFC32_SEEDS) {
    refuse(
      `seed is ${seed}, that of the last episode ${last}; expected whole numbers from 0 to ${SFC32_SEEDS - 1}`,
    );
  }
  // Other names could lead out of the folder of all datasets.
  if (root === null && !looksLikeRepoId(repoId)) {
    throw new CraftError('HUB_REPO_ID', `repoId is "${repoId}"; expected user/name, or root too`);
  }
}

/** A second failure here must not hide the first. */
function discard(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {}
}

function specOf(options: RecordOptions, task: string): EnvironmentSpec {
  const { type, cameras, imageSize, environmentState } = options;
  return {
    task,
    ...(type === undefined ? {} : { type }),
    ...(cameras === undefined ? {} : { cameras }),
    ...(imageSize === undefined ? {} : { imageSize }),
    ...(environmentState === undefined ? {} : { environmentState }),
  };
}

/** Opens every task's environment once, so that mistakes are found before anything runs or is written. */
async function createWriter(
  options: RecordOptions,
  specs: readonly EnvironmentSpec[],
  root: string,
): Promise<LeRobotDatasetWriter> {
  const descriptions = [];
  for (const spec of specs) {
    const environment = await makeEnvironment(spec);
    descriptions.push(describe(environment));
    environment.dispose();
  }
  const [first] = descriptions;
  const picture = options.video === false ? 'image' : 'video';
  const recorded = ({ dtype, shape, names }: EnvironmentFeature) => ({
    dtype: dtype === 'uint8' ? picture : dtype,
    shape,
    names,
  });
  const observed = Object.entries(first!.observationFeatures).map(([key, feature]) => [
    key,
    recorded(feature),
  ]);
  return LeRobotDatasetWriter.create({
    root,
    fps: first!.fps,
    robotType: first!.robotType,
    features: { ...Object.fromEntries(observed), action: recorded(first!.actionFeature) },
    ...(options.encoding === undefined ? {} : { video: options.encoding }),
  });
}

async function save(writer: LeRobotDatasetWriter, demonstration: Demonstration): Promise<void> {
  const { length, instruction, observations, actions } = demonstration;
  const columns = Object.entries({ ...observations, action: actions });
  for (let frame = 0; frame < length; frame++) {
    const values = columns.map(([key, all]) => {
      const width = all.length / length;
      return [key, all.subarray(frame * width, (frame + 1) * width)] as const;
    });
    writer.addFrame({ ...Object.fromEntries(values), task: instruction } as Frame);
  }
  await writer.saveEpisode();
}
