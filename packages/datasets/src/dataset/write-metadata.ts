import { join } from 'node:path';
import { StagedFile, writeFully } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { formatPath } from './files.js';
import type { VideoSegment } from './metadata.js';
import { emptyBody, type ParquetBody, stageRowGroup } from './parquet-append.js';
import { fileSchema, writeColumn } from './parquet-schema.js';
import { type FileSlot, makeFolderOf, nextSlot, type Staged } from './staged.js';
import { aggregateStats, type DatasetStats, type FeatureStats } from './stats.js';
import { episodeColumns, nest } from './write-episodes.js';

export interface WrittenFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly names: unknown;
  /** Of a video: how it is encoded. */
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
  /** By feature; texts have none. */
  readonly stats: DatasetStats;
}

/** What stays the same while recording. */
export interface WrittenDataset {
  readonly root: string;
  readonly features: Readonly<Record<string, WrittenFeature>>;
  readonly chunksSize: number;
  readonly dataFilesSizeInMb: number;
  /** info.json but for the totals and splits. */
  readonly info: Readonly<Record<string, unknown>>;
}

/** What there is already. */
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
 * Rows of meta/episodes that are encoded again with each episode, until they are a row group. One row group per episode would
 * make the footer grow by a hundred column entries each.
 */
const ROWS_PER_GROUP = 100;

/** The files under `meta/`, written anew with every episode: info.json last, whose presence makes the folder a dataset. */
export class MetadataFiles {
  readonly #dataset: WrittenDataset;
  #totals: WrittenTotals;
  #slot: FileSlot;
  /** Row groups that stay as they are. */
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

  /** @param tasks Those there were, and the episode's new ones. @throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
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
      const statsJson = Object.fromEntries(Object.entries(stats).map(([key, s]) => [key, toJson(s)]));
      files.push(stageJson(join(meta, 'stats.json'), statsJson));
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
    makeFolderOf(path);
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
  makeFolderOf(path);
  return new StagedFile(path).write((fd) => writeFully(fd, bytes));
}

/** Nested in the shape of the statistic: `[26]` for a state, `[3][1][1]` for a camera. */
function toJson({ shape, count, ...values }: FeatureStats): Record<string, unknown> {
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
  makeFolderOf(path);
  return stageRowGroup(
    path,
    emptyBody,
    fileSchema(columns),
    columns.map(({ name }, i) => ({ name, data: values[i]! })),
    [{ key: 'pandas', value: JSON.stringify(pandas) }],
  ).file;
}
