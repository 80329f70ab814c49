import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { atomicWriteFile, CraftError, explainWriteError } from '@craft-ft/torch';
import type { Column } from '../datasets/columns.js';
import { columnDType } from '../datasets/dtypes.js';
import type { OnWarning } from '../datasets/files.js';
import { isBookkeeping } from '../datasets/info.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../datasets/metadata.js';
import { LeRobotDatasetWriter } from '../datasets/writer.js';
import { addVideos } from './compose-metadata.js';
import { composeVideos, type PlacedVideos } from './compose-videos.js';
import { readEpisodes, type SourceEpisode } from './read-episodes.js';
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
  if (existsSync(root) && readdirSync(root).length > 0) {
    throw new CraftError('DATASET_EXISTS', `${root}: already exists and is not empty; choose another folder`);
  }
  checkSameFeatures([...new Set(episodes.map(({ metadata }) => metadata))]);
  const partial = join(dirname(root), `.${basename(root)}.${process.pid}.partial`);
  writing(root, () => {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(dirname(root), { recursive: true });
  });
  try {
    await writeNumbers(episodes, partial, options, warn);
    const videos = await composeVideos(episodes, partial, options.videoFilesSizeInMb ?? 200);
    await finishMetadata(episodes, partial, videos, options, warn);
    const compared = await verifyComposed(episodes, partial, options.toleranceS ?? 1e-4);
    writing(root, () => {
      rmSync(root, { recursive: true, force: true });
      renameSync(partial, root);
    });
    const frames = episodes.reduce((sum, { episode }) => sum + episode.length, 0);
    return { root, episodes: episodes.length, frames, ...compared };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Runs calls of the file system. Throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
function writing(path: string, step: () => void): void {
  try {
    step();
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

async function writeNumbers(
  episodes: readonly SourceEpisode[],
  root: string,
  options: ComposeOptions,
  warn: OnWarning,
): Promise<void> {
  const { info } = episodes[0]!.metadata;
  const keys = Object.keys(info.features).filter(
    (key) => columnDType(info.features[key]!.dtype) !== undefined,
  );
  const own = keys.filter((key) => !isBookkeeping(key));
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: info.fps,
    robotType: info.robotType,
    features: Object.fromEntries(own.map((key) => [key, info.features[key]!])),
    dataFilesSizeInMb: options.dataFilesSizeInMb,
  });
  let done = 0;
  for await (const { metadata, episode, columns, row } of readEpisodes(episodes, keys, warn)) {
    checkTimestamps(metadata, episode, columns.get('timestamp')!, row, options.toleranceS ?? 1e-4);
    const taskIndex = columns.get('task_index')!.data;
    for (let frame = row; frame < row + episode.length; frame++) {
      const values = own.map((key) => {
        const { data, width } = columns.get(key)!;
        return [key, data.subarray(frame * width, (frame + 1) * width)] as const;
      });
      const task = metadata.tasks.get(Number(taskIndex[frame]))!;
      writer.addFrame({ ...Object.fromEntries(values), task });
    }
    await writer.saveEpisode();
    options.onProgress?.(++done, episodes.length);
  }
  await writer.finalize();
}

/** New timestamps are frame / fps; a source whose own differ would lose them. */
function checkTimestamps(
  { root, fps }: LeRobotDatasetMetadata,
  episode: EpisodeRecord,
  { data }: Column,
  row: number,
  toleranceS: number,
): void {
  for (let frame = 0; frame < episode.length; frame++) {
    const found = Number(data[row + frame]);
    if (Math.abs(found - frame / fps) <= toleranceS) continue;
    throw new CraftError(
      'TOOL_TIMESTAMP',
      `${root}: frame ${frame} of episode ${episode.episodeIndex} is at ${found} s, expected ${frame / fps} s at ${fps} fps; ` +
        'run craft dataset doctor, and leave the episode out',
    );
  }
}

/** Brings info.json to the sources' features, in their order and with all they say, and adds the videos. */
async function finishMetadata(
  episodes: readonly SourceEpisode[],
  root: string,
  videos: PlacedVideos,
  options: ComposeOptions,
  warn: OnWarning,
): Promise<void> {
  await addVideos(episodes, root, videos, warn);
  const path = join(root, 'meta', 'info.json');
  const info = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  info.features = Object.fromEntries(
    Object.entries(episodes[0]!.metadata.features).map(([key, { extra, ...feature }]) => [
      key,
      { ...feature, ...extra },
    ]),
  );
  info.video_files_size_in_mb = options.videoFilesSizeInMb ?? 200;
  if (videos.size > 0)
    info.video_path = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4';
  atomicWriteFile(path, JSON.stringify(info, null, 4));
}
