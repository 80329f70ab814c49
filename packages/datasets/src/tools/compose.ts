import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CraftError, explainWriteError, makeFolder, placeFolder } from '@craft-ft/torch';
import type { Column } from '../dataset/columns.js';
import type { OnWarning } from '../dataset/dataset-files.js';
import { isBookkeeping } from '../dataset/dataset-info.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { loadFFmpeg } from '../video/ffmpeg.js';
import { isWritable } from '../writer/parquet-writer.js';
import { composeData } from './compose-data.js';
import { addCameras, writeComposedMetadata } from './compose-metadata.js';
import { composeVideos, hashPiece, pieceOf, VideoShelf } from './compose-videos.js';
import { readEpisodes, type SourceEpisode, type StoredPicture } from './source-episodes.js';

/** Options of every tool that writes a dataset. */
export interface ComposeOptions {
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: OnWarning;
  /** Called with the episodes written so far. */
  onProgress?: (episodes: number, of: number) => void;
  /** Largest distance of a timestamp from frame / fps, seconds. Default 1e-4. */
  toleranceS?: number;
  /** A new data file is started before the current one would exceed this size. Default 100, LeRobot's. */
  dataFilesSizeInMb?: number;
  /** A new video file is started before the current one would exceed this size. Default 200, LeRobot's. */
  videoFilesSizeInMb?: number;
}

/** What was written and verified against its sources. */
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
 * Makes a v3.0 dataset from episodes of existing ones (v2.0, v2.1, v3.0), in the order given: episodes, frames and tasks are
 * renumbered, statistics of numbers are recomputed, those of cameras copied. Videos are joined without re-encoding. The sources are
 * only read. The dataset is built in a temporary folder beside `output`, read back and compared with its sources (every value,
 * every encoded frame), and only then renamed to `output`.
 *
 * @throws CraftError `DATASET_EXISTS`; `TOOL_FEATURES` if sources differ or a feature cannot be written; `TOOL_VERIFY`;
 * `VIDEO_CUT`; and errors of reading.
 */
export async function composeDataset(
  episodes: readonly SourceEpisode[],
  output: string,
  options: ComposeOptions = {},
): Promise<Composed> {
  const root = resolve(output);
  const settings = {
    ...options,
    onWarning: options.onWarning ?? ((message: string) => console.warn(message)),
    toleranceS: options.toleranceS ?? 1e-4,
    dataFilesSizeInMb: options.dataFilesSizeInMb ?? 100,
    videoFilesSizeInMb: options.videoFilesSizeInMb ?? 200,
  };
  if (episodes.length === 0) throw new CraftError('DATASET_EPISODES', `${root}: no episodes to write`);
  checkVacant(root);
  checkSameFeatures([...new Set(episodes.map(({ metadata }) => metadata))]);
  const partial = makePartial(root);
  let complete = false;
  try {
    const { written, tasks } = await composeData(episodes, partial, settings);
    const videos = await composeVideos(episodes, partial, settings.videoFilesSizeInMb);
    writeComposedMetadata(episodes[0]!.metadata, partial, written, tasks, settings);
    await addCameras(episodes, partial, videos, settings.onWarning);
    const compared = await verifyComposed(episodes, partial, settings.toleranceS);
    complete = true;
    place(partial, root);
    const frames = episodes.reduce((sum, { episode }) => sum + episode.length, 0);
    return { root, episodes: episodes.length, frames, ...compared };
  } finally {
    if (!complete) rmSync(partial, { recursive: true, force: true });
  }
}

/** Refuses an output that would overwrite something. @throws CraftError `DATASET_EXISTS` unless it is absent or an empty folder */
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
 * Renames the complete dataset to `root`. The output may have been found vacant long ago: anything written there since is left
 * alone, and the new dataset is kept under its temporary name.
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

/**
 * Checks that datasets can become one: same fps, robot type and features (key, dtype, shape).
 *
 * @throws CraftError `TOOL_FEATURES` naming both datasets and the key.
 */
function checkSameFeatures(datasets: readonly LeRobotDatasetMetadata[]): void {
  const [first, ...others] = datasets as [LeRobotDatasetMetadata, ...LeRobotDatasetMetadata[]];
  for (const [key, { dtype }] of Object.entries(first.features)) {
    if (isWritable(dtype)) continue;
    throw new CraftError(
      'TOOL_FEATURES',
      `${first.root}: feature "${key}" has dtype "${dtype}", which is not written; numbers, booleans, texts, pictures and videos are`,
    );
  }
  for (const other of others) {
    const differ = (what: string): CraftError =>
      new CraftError('TOOL_FEATURES', `${other.root}: ${what}; only datasets of the same kind can be merged`);
    if (other.fps !== first.fps) throw differ(`has ${other.fps} fps, ${first.root} has ${first.fps}`);
    if (other.robotType !== first.robotType)
      throw differ(`has robot_type "${other.robotType}", ${first.root} has "${first.robotType}"`);
    for (const key of new Set([...Object.keys(first.features), ...Object.keys(other.features)])) {
      const a = first.features[key];
      const b = other.features[key];
      if (a === undefined) throw differ(`has the feature "${key}", which ${first.root} lacks`);
      if (b === undefined) throw differ(`lacks the feature "${key}" of ${first.root}`);
      const [mine, theirs] = [a, b].map(({ dtype, shape }) => `${dtype} [${shape.join(', ')}]`);
      if (mine !== theirs) throw differ(`"${key}" is ${theirs}, in ${first.root} it is ${mine}`);
    }
  }
}

/**
 * Reads a composed dataset back and compares it with its sources: every number, text, image and instruction, every encoded
 * video frame and its time.
 *
 * @throws CraftError `TOOL_VERIFY` naming the first difference.
 */
async function verifyComposed(
  sources: readonly SourceEpisode[],
  root: string,
  toleranceS: number,
): Promise<{ values: number; videoFrames: number }> {
  const fail = (what: string): never => {
    throw new CraftError('TOOL_VERIFY', `${root}: the written dataset differs: ${what}; nothing is kept`);
  };
  const metadata = await LeRobotDatasetMetadata.load(root, { onWarning: fail });
  if (metadata.episodes.length !== sources.length)
    fail(`${metadata.episodes.length} episodes instead of ${sources.length}`);
  const written = metadata.episodes.map((episode) => ({ metadata, episode }));
  const copies = readEpisodes(written, fail);
  let values = 0;
  // The sources' own warnings were given when they were read for writing.
  for await (const source of readEpisodes(sources, () => {})) {
    const copy = (await copies.next()).value!;
    for (const key of source.columns.keys()) {
      if (isBookkeeping(key) && key !== 'timestamp' && key !== 'frame_index') continue;
      const tolerance = key === 'timestamp' ? toleranceS : 0;
      const at = difference(
        source.columns.get(key)!,
        source.row,
        copy.columns.get(key)!,
        copy.row,
        source.episode.length,
        tolerance,
      );
      if (at !== undefined) fail(`"${key}" at frame ${at} of episode ${copy.episode.episodeIndex}`);
      values += source.episode.length * source.columns.get(key)!.width;
    }
    source.tasks.forEach((task, frame) => {
      if (task !== copy.tasks[frame])
        fail(`the task at frame ${frame} of episode ${copy.episode.episodeIndex}`);
    });
    for (const [key, own] of source.others) {
      const other = copy.others.get(key)!;
      const at = own.findIndex((value, frame) => !sameOther(value, other[frame]!));
      if (at !== -1) fail(`"${key}" at frame ${at} of episode ${copy.episode.episodeIndex}`);
    }
  }
  return { values, videoFrames: await verifyVideos(sources, written, toleranceS, fail) };
}

type Other = string | StoredPicture;

function sameOther(a: Other, b: Other): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return Buffer.compare(a.bytes, b.bytes) === 0;
}

/** The first frame at which two columns differ. */
function difference(
  a: Column,
  aRow: number,
  b: Column,
  bRow: number,
  frames: number,
  tolerance: number,
): number | undefined {
  if (a.width !== b.width) return 0;
  for (let i = 0; i < frames * a.width; i++) {
    const x = a.data[aRow * a.width + i]!;
    const y = b.data[bRow * b.width + i]!;
    if (!Object.is(x, y) && !(tolerance > 0 && Math.abs(Number(x) - Number(y)) <= tolerance))
      return Math.floor(i / a.width);
  }
  return undefined;
}

async function verifyVideos(
  sources: readonly SourceEpisode[],
  written: readonly SourceEpisode[],
  toleranceS: number,
  fail: (what: string) => never,
): Promise<number> {
  const { features, fps } = written[0]!.metadata;
  const cameras = Object.keys(features).filter((key) => features[key]!.dtype === 'video');
  if (cameras.length === 0) return 0;
  const ffmpeg = await loadFFmpeg();
  const [old, own] = [new VideoShelf(ffmpeg), new VideoShelf(ffmpeg)];
  let frames = 0;
  try {
    for (const key of cameras) {
      sources.forEach((source, i) => {
        const copy = written[i]!;
        const before = old.open(source.metadata.videoPath(source.episode, key));
        const after = own.open(copy.metadata.videoPath(copy.episode, key));
        const piece = pieceOf(copy, key, after);
        if (hashPiece(before, pieceOf(source, key, before)) !== hashPiece(after, piece))
          fail(`the video "${key}" of episode ${i}`);
        for (let frame = 0; frame < piece.frames; frame++) {
          const expected = copy.episode.videos[key]!.fromTimestamp + frame / fps;
          const found = after.index.timestamps[piece.firstFrame + frame]!;
          if (!(Math.abs(found - expected) <= toleranceS))
            fail(
              `the video "${key}" of episode ${i} shows frame ${frame} at ${found} s, expected ${expected} s`,
            );
        }
        frames += piece.frames;
      });
    }
  } finally {
    old.close();
    own.close();
  }
  return frames;
}
