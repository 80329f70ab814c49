import { dirname, join } from 'node:path';
import { makeFolder, StagedFile, writeFully } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { formatPath } from '../dataset/dataset-files.js';
import { isBookkeeping } from '../dataset/dataset-info.js';
import { integerRange } from '../dataset/dtypes.js';
import type { VideoSegment } from '../dataset/metadata-formats.js';
import { aggregateStats, type DatasetStats, type FeatureStats, quantileNames } from '../dataset/stats.js';
import type { VideoEncoding } from '../video/encoder.js';
import { type FileSlot, nextSlot, type Staged } from './data-files.js';
import {
  emptyBody,
  fileSchema,
  isVisual,
  isWritable,
  type ParquetBody,
  stageRowGroup,
  type WriteColumn,
  writeColumn,
} from './parquet-writer.js';

export interface WrittenFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly names: unknown;
  /** For a video: its encoding. */
  readonly info?: Readonly<Record<string, unknown>>;
}

export interface WrittenEpisode {
  readonly index: number;
  readonly length: number;
  /** Dataset-wide index of the first frame. */
  readonly fromIndex: number;
  readonly tasks: readonly string[];
  readonly data: FileSlot;
  /** By video feature. */
  readonly videos: Readonly<Record<string, VideoSegment>>;
  /** By feature; text features have none. */
  readonly stats: DatasetStats;
}

/** What stays the same while recording. */
export interface WrittenDataset {
  readonly root: string;
  readonly features: Readonly<Record<string, WrittenFeature>>;
  readonly chunksSize: number;
  readonly dataFilesSizeInMb: number;
  /** info.json without the totals and splits. */
  readonly info: Readonly<Record<string, unknown>>;
}

/** What has been recorded so far. */
export interface WrittenTotals {
  readonly episodes: number;
  readonly frames: number;
  /** In the order of their indices. */
  readonly tasks: readonly string[];
  /** Undefined before the first episode. */
  readonly stats: DatasetStats | undefined;
}

export const dataPath = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet';
export const videoPath = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4';
const episodesPath = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet';

/** The features LeRobot adds to every dataset. */
export const bookkeepingFeatures: Readonly<Record<string, WrittenFeature>> = {
  timestamp: { dtype: 'float32', shape: [1], names: null },
  frame_index: { dtype: 'int64', shape: [1], names: null },
  episode_index: { dtype: 'int64', shape: [1], names: null },
  index: { dtype: 'int64', shape: [1], names: null },
  task_index: { dtype: 'int64', shape: [1], names: null },
};

/**
 * Rows of meta/episodes in a row group. The rows of the unfinished one are encoded again with each episode: one row group per
 * episode would add a hundred column entries to the footer each time.
 */
const ROWS_PER_GROUP = 100;

/** The files under `meta/`, rewritten with every episode; info.json comes last, because its presence makes the folder a dataset. */
export class MetadataFiles {
  readonly #dataset: WrittenDataset;
  #totals: WrittenTotals;
  #slot: FileSlot;
  /** Complete row groups. */
  #body: ParquetBody = emptyBody;
  /** Rows after them. */
  #rows: readonly WrittenEpisode[] = [];

  /** @param first The first file of meta/episodes to write. */
  constructor(dataset: WrittenDataset, totals: WrittenTotals, first: FileSlot) {
    this.#dataset = dataset;
    this.#totals = totals;
    this.#slot = first;
  }

  get totals(): WrittenTotals {
    return this.#totals;
  }

  /** @param tasks All tasks so far and the episode's new ones. @throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
  stage(episode: WrittenEpisode, tasks: readonly string[]): Staged<undefined> {
    const before = this.#totals;
    const meta = join(this.#dataset.root, 'meta');
    const sets = before.stats === undefined ? [episode.stats] : [before.stats, episode.stats];
    const stats = aggregateStats(sets, meta, () => {});
    const totals: WrittenTotals = {
      episodes: before.episodes + 1,
      frames: before.frames + episode.length,
      tasks,
      stats,
    };
    const files: StagedFile[] = [];
    try {
      if (tasks.length > before.tasks.length) files.push(stageTasks(join(meta, 'tasks.parquet'), tasks));
      const episodes = this.#stageEpisode(episode);
      files.push(...episodes.files);
      const json = Object.fromEntries(Object.entries(stats).map(([key, s]) => [key, statsJson(s)]));
      files.push(stageJson(join(meta, 'stats.json'), json));
      files.push(
        stageJson(join(meta, 'info.json'), {
          ...this.#dataset.info,
          total_episodes: totals.episodes,
          total_frames: totals.frames,
          total_tasks: tasks.length,
          splits: { train: `0:${totals.episodes}` },
        }),
      );
      const accept = (): void => {
        this.#totals = totals;
        episodes.accept();
      };
      return { files, value: undefined, accept };
    } catch (error) {
      for (const file of files) file.discard();
      throw error;
    }
  }

  #stageEpisode(episode: WrittenEpisode): Staged<undefined> {
    const { root, features, chunksSize, dataFilesSizeInMb } = this.#dataset;
    const full = this.#rows.length === 0 && this.#body.bytes >= dataFilesSizeInMb * 2 ** 20;
    const slot = full ? nextSlot(this.#slot, chunksSize) : this.#slot;
    const closed = full ? emptyBody : this.#body;
    const rows = [...this.#rows, episode];
    const path = formatPath(root, episodesPath, { chunk_index: slot.chunk, file_index: slot.file });
    makeFolder(dirname(path));
    const { columns, values } = episodeColumns(rows, features, slot);
    const columnData = columns.map(({ name }, i) => ({ name, data: values[i]! }));
    const { file, body } = stageRowGroup(path, closed, fileSchema(columns), columnData);
    const accept = (): void => {
      const ended = rows.length === ROWS_PER_GROUP;
      this.#slot = slot;
      this.#body = ended ? body : closed;
      this.#rows = ended ? [] : rows;
    };
    return { files: [file], value: undefined, accept };
  }
}

function stageJson(path: string, value: unknown): StagedFile {
  const bytes = new TextEncoder().encode(JSON.stringify(value, null, 4));
  return stageBytes(path, bytes);
}

function stageBytes(path: string, bytes: Uint8Array): StagedFile {
  makeFolder(dirname(path));
  return new StagedFile(path).write((fd) => writeFully(fd, bytes));
}

/** Nested in the shape of the statistic: `[26]` for a state, `[3][1][1]` for a camera. */
export function statsJson({ shape, count, ...values }: FeatureStats): Record<string, unknown> {
  const { min, max, mean, std, ...quantiles } = values;
  const nested = Object.entries({ min, max, mean, std }).map(([name, stat]) => [name, nest(stat, shape)]);
  const rest = Object.entries(quantiles).map(([name, stat]) => [name, nest(stat!, shape)]);
  return { ...Object.fromEntries(nested), count: [count], ...Object.fromEntries(rest) };
}

/** A pandas frame indexed by the task's text, which pandas restores from the `pandas` entry. */
function stageTasks(path: string, tasks: readonly string[]): StagedFile {
  const column = (name: string, pandas: string, numpy: string): object => ({
    name,
    field_name: name,
    pandas_type: pandas,
    numpy_type: numpy,
    metadata: null,
  });
  const pandas = {
    index_columns: ['task'],
    column_indexes: [
      {
        name: null,
        field_name: null,
        pandas_type: 'unicode',
        numpy_type: 'object',
        metadata: { encoding: 'UTF-8' },
      },
    ],
    columns: [column('task_index', 'int64', 'int64'), column('task', 'unicode', 'object')],
    attributes: {},
    creator: { library: 'craft' },
    pandas_version: '2.3.3',
  };
  const columns = [writeColumn('task_index', 'int64'), writeColumn('task', 'string')];
  const values: DecodedArray[] = [BigInt64Array.from(tasks, (_, i) => BigInt(i)), [...tasks]];
  makeFolder(dirname(path));
  return stageRowGroup(
    path,
    emptyBody,
    fileSchema(columns),
    columns.map(({ name }, i) => ({ name, data: values[i]! })),
    [{ key: 'pandas', value: JSON.stringify(pandas) }],
  ).file;
}

/**
 * The columns of meta/episodes, in LeRobot's order.
 *
 * @param slot The file these rows are in.
 */
export function episodeColumns(
  episodes: readonly WrittenEpisode[],
  features: Readonly<Record<string, WrittenFeature>>,
  slot: FileSlot,
): { columns: WriteColumn[]; values: DecodedArray[] } {
  const columns: WriteColumn[] = [];
  const values: DecodedArray[] = [];
  const add = (column: WriteColumn, data: DecodedArray): void => {
    columns.push(column);
    values.push(data);
  };
  const addInteger = (name: string, of: (episode: WrittenEpisode) => number): void =>
    add(
      writeColumn(name, 'int64'),
      BigInt64Array.from(episodes, (episode) => BigInt(of(episode))),
    );
  addInteger('episode_index', (episode) => episode.index);
  add(
    writeColumn('tasks', 'string', 1),
    episodes.map((episode) => [...episode.tasks]),
  );
  addInteger('length', (episode) => episode.length);
  addInteger('data/chunk_index', (episode) => episode.data.chunk);
  addInteger('data/file_index', (episode) => episode.data.file);
  addInteger('dataset_from_index', (episode) => episode.fromIndex);
  addInteger('dataset_to_index', (episode) => episode.fromIndex + episode.length);
  for (const [key, { dtype }] of Object.entries(features)) {
    if (dtype !== 'video') continue;
    const addSeconds = (name: string, of: (episode: WrittenEpisode) => number): void =>
      add(writeColumn(`videos/${key}/${name}`, 'float64'), Float64Array.from(episodes, of));
    addInteger(`videos/${key}/chunk_index`, (episode) => episode.videos[key]!.chunkIndex);
    addInteger(`videos/${key}/file_index`, (episode) => episode.videos[key]!.fileIndex);
    addSeconds('from_timestamp', (episode) => episode.videos[key]!.fromTimestamp);
    addSeconds('to_timestamp', (episode) => episode.videos[key]!.toTimestamp);
  }
  for (const [key, feature] of Object.entries(features)) {
    if (feature.dtype !== 'string') addStats(key, feature, episodes, add);
  }
  addInteger('meta/episodes/chunk_index', () => slot.chunk);
  addInteger('meta/episodes/file_index', () => slot.file);
  return { columns, values };
}

function addStats(
  key: string,
  { dtype, shape: frame }: WrittenFeature,
  episodes: readonly WrittenEpisode[],
  add: (column: WriteColumn, data: DecodedArray) => void,
): void {
  const shape = isVisual(dtype) ? [3, 1, 1] : frame;
  // LeRobot keeps the extremes of integer features as integers.
  const integer = integerRange[dtype] !== undefined;
  for (const name of ['min', 'max', 'mean', 'std', 'count', ...quantileNames] as const) {
    const column = `stats/${key}/${name}`;
    if (name === 'count') {
      add(
        writeColumn(column, 'int64', 1),
        episodes.map((episode) => [BigInt(episode.stats[key]!.count)]),
      );
    } else if (integer && (name === 'min' || name === 'max')) {
      add(
        writeColumn(column, 'int64', shape.length),
        episodes.map((episode) => nest(episode.stats[key]![name].map(toInt64), shape)),
      );
    } else {
      add(
        writeColumn(column, 'float64', shape.length),
        episodes.map((episode) => nest(episode.stats[key]![name]!, shape)),
      );
    }
  }
}

/** Statistics are float64: the extremes of int64 round to just outside its range. */
function toInt64(value: number): bigint {
  const [low, high] = integerRange.int64!;
  const whole = BigInt(value);
  return whole < low ? low : whole > high ? high : whole;
}

/** A flat row-major array as nested lists of a shape. */
export function nest(values: readonly unknown[], shape: readonly number[]): unknown {
  const [size, ...rest] = shape;
  if (size === undefined) return values[0];
  const step = values.length / size;
  return Array.from({ length: size }, (_, i) => nest(values.slice(i * step, (i + 1) * step), rest));
}

const imageNames = ['height', 'width', 'channels'];

/** Why the writer does not support a feature; undefined if it does. */
export function featureProblem(
  key: string,
  { dtype, shape, names }: { dtype: string; shape: readonly number[]; names?: unknown },
): string | undefined {
  if (isBookkeeping(key) || key === 'task') return 'is written by the writer itself; leave it out';
  // LeRobot forbids slashes too: they separate the parts of column names in meta/episodes.
  if (key === '' || key.includes('/')) return 'must have a name without "/"';
  if (!isWritable(dtype))
    return `has dtype "${dtype}"; numeric dtypes, bool, string, image and video are written`;
  const size = `[${shape.join(', ')}]`;
  if (shape.length < 1 || shape.length > 5 || !shape.every((n) => Number.isInteger(n) && n > 0)) {
    return `has shape ${size}; one to five sizes from 1 on are written`;
  }
  if (dtype === 'string' && (shape.length !== 1 || shape[0] !== 1)) {
    return `has shape ${size}; a string is one text per frame, shape [1]`;
  }
  if (!isVisual(dtype)) return undefined;
  const channels = Array.isArray(names) ? names[2] : undefined;
  if (shape.length !== 3 || shape[2] !== 3 || (names != null && !/^channels?$/.test(String(channels)))) {
    return `has shape ${size}; pictures are [height, width, 3] with names height, width, channels`;
  }
  if (dtype === 'video' && (shape[0]! % 2 !== 0 || shape[1]! % 2 !== 0)) {
    return `is ${shape[1]}×${shape[0]}; a video needs an even width and height (its colours are stored at half size)`;
  }
  return undefined;
}

/** A feature as written to info.json. */
export function writtenFeature(
  { dtype, shape, names }: { dtype: string; shape: readonly number[]; names?: unknown },
  fps: number,
  encoding: VideoEncoding,
): WrittenFeature {
  if (!isVisual(dtype)) return { dtype, shape: [...shape], names: names ?? null };
  const feature = { dtype, shape: [...shape], names: names ?? imageNames };
  return dtype === 'video' ? { ...feature, info: videoInfo(shape, fps, encoding) } : feature;
}

function videoInfo(
  shape: readonly number[],
  fps: number,
  { codec = 'av1', g = 2, crf = 30, preset }: VideoEncoding,
): Record<string, unknown> {
  const [height, width, channels] = shape;
  return {
    'video.height': height,
    'video.width': width,
    'video.codec': codec,
    'video.pix_fmt': 'yuv420p',
    'video.is_depth_map': false,
    'video.fps': fps,
    'video.channels': channels,
    has_audio: false,
    'video.g': g,
    'video.crf': crf,
    'video.preset': preset ?? (codec === 'av1' ? 12 : null),
  };
}
