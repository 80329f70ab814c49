import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CraftError, explainWriteError, makeFolder, placeFolder } from '@craft-ft/torch';
import type { OnWarning } from '../dataset/files.js';
import { composeData } from './compose-data.js';
import { addCameras, writeComposedMetadata } from './compose-metadata.js';
import { composeVideos } from './compose-videos.js';
import type { SourceEpisode } from './read-episodes.js';
import { checkSameFeatures } from './same-features.js';
import { verifyComposed } from './verify-composed.js';

export interface ComposeOptions {
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: OnWarning;
  /** Called with the episodes written so far. */
  onProgress?: (episodes: number, of: number) => void;
  /** Largest distance of a timestamp from frame / fps, seconds. Default 1e-4. */
  toleranceS?: number;
  /** A new data file is begun before this size would be passed. Default 100, LeRobot's. */
  dataFilesSizeInMb?: number;
  /** A new video file is begun before this size would be passed. Default 200, LeRobot's. */
  videoFilesSizeInMb?: number;
}

/** What was written and compared with its sources. */
export interface Composed {
  readonly root: string;
  readonly episodes: number;
  readonly frames: number;
  /** Numbers read back and found equal. */
  readonly values: number;
  /** Video frames whose encoded bytes were read back and found equal, over all cameras. */
  readonly videoFrames: number;
}

/**
 * Makes a v3.0 dataset out of episodes of existing ones (v2.0, v2.1, v3.0), in the order given: episodes, frames and tasks are
 * numbered anew, statistics of numbers computed anew, those of cameras taken over. Videos are joined without re-encoding. The
 * sources are only read. The dataset is built in a folder beside `output`, read back and compared with its sources number by
 * number and encoded frame by encoded frame, and gets its name only then.
 *
 * @throws CraftError `DATASET_EXISTS`; `TOOL_FEATURES` when sources differ or a feature cannot be written; `TOOL_VERIFY`;
 * `VIDEO_CUT`; and what reading throws.
 */
export async function composeDataset(
  episodes: readonly SourceEpisode[],
  output: string,
  options: ComposeOptions = {},
): Promise<Composed> {
  const root = resolve(output);
  const warn = options.onWarning ?? ((message) => console.warn(message));
  if (episodes.length === 0) throw new CraftError('DATASET_EPISODES', `${root}: no episodes to write`);
  checkVacant(root);
  checkSameFeatures([...new Set(episodes.map(({ metadata }) => metadata))]);
  const partial = makePartial(root);
  let complete = false;
  try {
    const { written, tasks } = await composeData(episodes, partial, options, warn);
    const videos = await composeVideos(episodes, partial, options.videoFilesSizeInMb ?? 200);
    writeComposedMetadata(episodes[0]!.metadata, partial, written, tasks, options);
    await addCameras(episodes, partial, videos, warn);
    const compared = await verifyComposed(episodes, partial, options.toleranceS ?? 1e-4);
    complete = true;
    place(partial, root);
    const frames = episodes.reduce((sum, { episode }) => sum + episode.length, 0);
    return { root, episodes: episodes.length, frames, ...compared };
  } finally {
    if (!complete) rmSync(partial, { recursive: true, force: true });
  }
}

/** Refuses an output that would lose something. @throws CraftError `DATASET_EXISTS` unless it is absent or an empty folder */
export function checkVacant(root: string): void {
  if (isVacant(root)) return;
  const what = statSync(root).isDirectory() ? 'already exists and is not empty' : 'is a file';
  throw new CraftError('DATASET_EXISTS', `${root}: ${what}; choose another folder`);
}

function isVacant(root: string): boolean {
  return !existsSync(root) || (statSync(root).isDirectory() && readdirSync(root).length === 0);
}

/** Makes a folder beside `root` that no other tool writes to. */
function makePartial(root: string): string {
  const home = existsSync(root) ? realpathSync(root) : root;
  makeFolder(dirname(home));
  const partial = join(dirname(home), `.${basename(home)}.${randomBytes(4).toString('hex')}.partial`);
  try {
    mkdirSync(partial);
  } catch (error) {
    throw explainWriteError(error, root);
  }
  return partial;
}

/**
 * Gives the complete dataset its name. Much time may have passed since the output was found vacant: what has been written there
 * since is left alone, and the new dataset is kept too.
 */
function place(partial: string, root: string): void {
  try {
    placeFolder(partial, existsSync(root) ? realpathSync(root) : root);
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    const kept = `the new dataset is complete in ${partial}, move it where you want it`;
    if (isVacant(root)) throw new CraftError(error.code, `${error.message}; ${kept}`, { cause: error });
    const message = `${root}: something else was written there meanwhile and is left as it is; ${kept}`;
    throw new CraftError('DATASET_EXISTS', message, { cause: error });
  }
}
