import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { parquetMetadata } from 'hyparquet';
import { parseJson, readIfPresent, readTextIfPresent } from '../dataset/dataset-files.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { episodeTables } from '../dataset/metadata-formats.js';
import { ParquetFile } from '../dataset/parquet.js';
import type { DatasetStats } from '../dataset/stats.js';
import type { VideoEncoding } from '../video/encoder.js';
import { type FileSlot, slotAfter } from './data-files.js';
import {
  bookkeepingFeatures,
  dataPath,
  featureProblem,
  videoPath,
  type WrittenDataset,
  type WrittenFeature,
  type WrittenTotals,
} from './metadata-files.js';
import { stageRowGroup } from './parquet-writer.js';

/** What the writer needs to know to add to a dataset. */
export interface ExistingDataset {
  readonly dataset: WrittenDataset;
  readonly totals: WrittenTotals;
  /** The first files to write. */
  readonly slots: {
    readonly data: FileSlot;
    readonly episodes: FileSlot;
    readonly videos: Readonly<Record<string, FileSlot>>;
  };
}

interface Reopened extends ExistingDataset {
  readonly fps: number;
  readonly encoding: VideoEncoding;
  readonly videoFilesSizeInMb: number;
}

/** Reads a v3.0 dataset to which episodes will be added, and removes leftovers of a crash while saving. */
export async function readForAppending(root: string): Promise<Reopened> {
  const path = join(root, 'meta', 'info.json');
  const metadata = await LeRobotDatasetMetadata.load(root);
  const info = parseJson(readTextIfPresent(path) ?? '', path) as Record<string, unknown>;
  const refuse = (code: string, what: string): CraftError => new CraftError(code, `${path}: ${what}`);
  if (metadata.version !== '3.0') {
    throw refuse(
      'DATASET_VERSION',
      `version ${metadata.version} cannot be added to; convert it to v3.0 first`,
    );
  }
  const videos = Object.entries(metadata.features).filter(([, { dtype }]) => dtype === 'video');
  if (metadata.info.dataPath !== dataPath || (videos.length > 0 && metadata.info.videoPath !== videoPath)) {
    throw refuse(
      'DATASET_PATH_INVALID',
      `data_path or video_path is not LeRobot's own; only such datasets are added to`,
    );
  }
  if (!Number.isInteger(metadata.fps)) {
    throw refuse('DATASET_FPS', `fps is ${metadata.fps}; only whole numbers are written`);
  }
  for (const [key, feature] of Object.entries(metadata.features)) {
    const problem = key in bookkeepingFeatures ? undefined : featureProblem(key, feature);
    if (problem !== undefined) throw refuse('DATASET_FEATURE', `feature "${key}" ${problem}`);
  }
  const chunksSize = metadata.info.chunksSize;
  const { episodes } = metadata;
  removeTemporaryFiles(root);
  removeUnlistedRows(metadata);
  const tasks = Array.from({ length: metadata.tasks.size }, (_, i) => {
    const task = metadata.tasks.get(i);
    if (task !== undefined) return task;
    throw new CraftError(
      'DATASET_TASK',
      `${root}/meta/tasks.parquet: task ${i} is missing; number tasks from 0 without gaps`,
    );
  });
  const stats: DatasetStats = await metadata.stats();
  const slotsOf = (key: string): FileSlot[] =>
    episodes.flatMap(({ videos }) => {
      const segment = videos[key];
      return segment === undefined ? [] : [{ chunk: segment.chunkIndex, file: segment.fileIndex }];
    });
  return {
    dataset: {
      root,
      features: info.features as Record<string, WrittenFeature>,
      chunksSize,
      dataFilesSizeInMb: Number(info.data_files_size_in_mb ?? 100),
      info,
    },
    totals: {
      episodes: episodes.length,
      frames: episodes.reduce((sum, { length }) => sum + length, 0),
      tasks,
      stats: episodes.length === 0 ? undefined : stats,
    },
    slots: {
      data: slotAfter(
        episodes.map(({ dataChunk, dataFile }) => ({ chunk: dataChunk, file: dataFile })),
        chunksSize,
      ),
      episodes: slotAfter(episodeSlots(root), chunksSize),
      videos: Object.fromEntries(videos.map(([key]) => [key, slotAfter(slotsOf(key), chunksSize)])),
    },
    fps: metadata.fps,
    encoding: encodingOf(videos[0]?.[1].extra.info),
    videoFilesSizeInMb: Number(info.video_files_size_in_mb ?? 200),
  };
}

/** How the existing videos are encoded, as far as info.json says so and the writer supports it. */
function encodingOf(info: unknown): VideoEncoding {
  const values = (info ?? {}) as Record<string, unknown>;
  const number = (key: string): number | undefined => {
    const value = values[key];
    return typeof value === 'number' ? value : undefined;
  };
  const preset = values['video.preset'];
  return {
    codec: values['video.codec'] === 'h264' ? 'h264' : 'av1',
    g: number('video.g'),
    crf: number('video.crf'),
    preset: typeof preset === 'number' || typeof preset === 'string' ? preset : undefined,
  };
}

function episodeSlots(root: string): FileSlot[] {
  return episodeTables(root).map((path) => {
    const [, chunk, file] = /chunk-(\d+)[\\/]file-(\d+)\.parquet$/.exec(path)!;
    return { chunk: Number(chunk), file: Number(file) };
  });
}

function removeTemporaryFiles(root: string): void {
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (/(^|[\\/])\.tmp-\d+-[0-9a-f]{12}$/.test(name)) rmSync(join(root, name), { force: true });
  }
}

/** A crash after renaming a data file and before renaming the metadata leaves rows at its end that belong to no episode. */
function removeUnlistedRows(metadata: LeRobotDatasetMetadata): void {
  const last = metadata.episodes.at(-1);
  if (last === undefined) return;
  const path = metadata.dataPath(last);
  const listed = metadata.episodes
    .filter(({ dataChunk, dataFile }) => dataChunk === last.dataChunk && dataFile === last.dataFile)
    .reduce((sum, { length }) => sum + length, 0);
  if (ParquetFile.open(path, 'download it before adding to the dataset').rows === listed) return;
  const { buffer, byteOffset, byteLength } = readIfPresent(path)!;
  const footer = parquetMetadata(buffer.slice(byteOffset, byteOffset + byteLength));
  const kept = [];
  let rows = 0;
  for (const group of footer.row_groups) {
    if (rows === listed) break;
    kept.push(group);
    rows += Number(group.num_rows);
  }
  if (rows !== listed) {
    throw new CraftError(
      'DATASET_ROWS',
      `${path}: has ${footer.num_rows} rows, the episodes in it have ${listed}; repair the dataset before adding to it`,
    );
  }
  const end = Math.max(
    ...kept.at(-1)!.columns.map(({ meta_data: meta }) => {
      const start = meta!.dictionary_page_offset ?? meta!.data_page_offset;
      return Number(start + meta!.total_compressed_size);
    }),
  );
  const body = { rowGroups: kept, bytes: end };
  stageRowGroup(path, body, footer.schema, [], footer.key_value_metadata).file.commit();
}
