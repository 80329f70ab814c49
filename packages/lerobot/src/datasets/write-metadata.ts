import { join } from 'node:path';
import type { DecodedArray } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { writeAtomically } from './atomic.js';
import { integerRange } from './dtypes.js';
import { fileSchema, type WriteColumn, writeColumn } from './parquet-schema.js';
import { aggregateStats, type DatasetStats, type FeatureStats, quantileNames } from './stats.js';

export interface WrittenFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly names: unknown;
}

export interface WrittenEpisode {
  readonly length: number;
  readonly fromIndex: number;
  readonly tasks: readonly string[];
  readonly chunkIndex: number;
  readonly fileIndex: number;
  readonly stats: DatasetStats;
}

/** All that the metadata says; episodes and tasks are in the order of their indices. */
export interface WrittenDataset {
  readonly root: string;
  readonly fps: number;
  readonly robotType: string | null;
  readonly features: Readonly<Record<string, WrittenFeature>>;
  readonly chunksSize: number;
  readonly dataFilesSizeInMb: number;
  readonly tasks: string[];
  readonly episodes: WrittenEpisode[];
}

export const dataPath = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet';

/** The features LeRobot adds to every dataset. */
export const bookkeepingFeatures: Readonly<Record<string, WrittenFeature>> = {
  timestamp: { dtype: 'float32', shape: [1], names: null },
  frame_index: { dtype: 'int64', shape: [1], names: null },
  episode_index: { dtype: 'int64', shape: [1], names: null },
  index: { dtype: 'int64', shape: [1], names: null },
  task_index: { dtype: 'int64', shape: [1], names: null },
};

/** Writes meta/: tasks, episodes, stats, and info.json last, whose presence makes the folder a dataset. */
export function writeMetadata(dataset: WrittenDataset): void {
  const meta = join(dataset.root, 'meta');
  writeTasks(join(meta, 'tasks.parquet'), dataset.tasks);
  writeEpisodes(join(meta, 'episodes', 'chunk-000', 'file-000.parquet'), dataset);
  const stats = aggregateStats(
    dataset.episodes.map((episode) => episode.stats),
    meta,
    () => {},
  );
  writeJson(
    join(meta, 'stats.json'),
    Object.fromEntries(Object.entries(stats).map(([key, s]) => [key, statsJson(s)])),
  );
  writeJson(join(meta, 'info.json'), {
    codebase_version: 'v3.0',
    robot_type: dataset.robotType,
    total_episodes: dataset.episodes.length,
    total_frames: dataset.episodes.reduce((sum, episode) => sum + episode.length, 0),
    total_tasks: dataset.tasks.length,
    chunks_size: dataset.chunksSize,
    data_files_size_in_mb: dataset.dataFilesSizeInMb,
    video_files_size_in_mb: 200,
    fps: dataset.fps,
    splits: { train: `0:${dataset.episodes.length}` },
    data_path: dataPath,
    video_path: null,
    features: dataset.features,
  });
}

function writeJson(path: string, value: unknown): void {
  writeAtomically(path, JSON.stringify(value, null, 4));
}

function statsJson({ shape: _shape, count, ...values }: FeatureStats): Record<string, number[]> {
  const { min, max, mean, std, ...quantiles } = values;
  return { min, max, mean, std, count: [count], ...quantiles };
}

/** A pandas frame indexed by the task's text, which pandas restores from the `pandas` entry. */
function writeTasks(path: string, tasks: readonly string[]): void {
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
  const values = [BigInt64Array.from(tasks, (_, i) => BigInt(i)), [...tasks]];
  writeParquet(path, columns, values, [{ key: 'pandas', value: JSON.stringify(pandas) }]);
}

function writeEpisodes(path: string, { episodes, features }: WrittenDataset): void {
  const columns: WriteColumn[] = [];
  const values: DecodedArray[] = [];
  const add = (column: WriteColumn, data: DecodedArray): void => {
    columns.push(column);
    values.push(data);
  };
  const addInteger = (name: string, of: (episode: WrittenEpisode, i: number) => number): void =>
    add(
      writeColumn(name, 'int64'),
      BigInt64Array.from(episodes, (episode, i) => BigInt(of(episode, i))),
    );
  addInteger('episode_index', (_, i) => i);
  add(
    writeColumn('tasks', 'string', 1),
    episodes.map((episode) => [...episode.tasks]),
  );
  addInteger('length', (episode) => episode.length);
  addInteger('data/chunk_index', (episode) => episode.chunkIndex);
  addInteger('data/file_index', (episode) => episode.fileIndex);
  addInteger('dataset_from_index', (episode) => episode.fromIndex);
  addInteger('dataset_to_index', (episode) => episode.fromIndex + episode.length);
  for (const [key, { dtype, shape }] of Object.entries(features)) {
    const depth = shape.length;
    const nested = (stat: number[]): unknown => nest(stat, shape);
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
          writeColumn(column, 'int64', depth),
          episodes.map((episode) => nest(episode.stats[key]![name].map(toInt64), shape)),
        );
      } else {
        add(
          writeColumn(column, 'float64', depth),
          episodes.map((episode) => nested(episode.stats[key]![name]!)),
        );
      }
    }
  }
  addInteger('meta/episodes/chunk_index', () => 0);
  addInteger('meta/episodes/file_index', () => 0);
  writeParquet(path, columns, values);
}

/** Statistics are float64: the extremes of int64 round to just outside its range. */
function toInt64(value: number): bigint {
  const [low, high] = integerRange.int64!;
  const whole = BigInt(value);
  return whole < low ? low : whole > high ? high : whole;
}

/** A flat row-major array as nested lists of a shape. */
function nest(values: readonly unknown[], shape: readonly number[]): unknown {
  const [size, ...rest] = shape;
  if (size === undefined) return values[0];
  const step = values.length / size;
  return Array.from({ length: size }, (_, i) => nest(values.slice(i * step, (i + 1) * step), rest));
}

function writeParquet(
  path: string,
  columns: readonly WriteColumn[],
  values: readonly DecodedArray[],
  kvMetadata: { key: string; value: string }[] = [],
): void {
  const buffer = parquetWriteBuffer({
    columnData: columns.map(({ name }, i) => ({ name, data: values[i]! })),
    schema: fileSchema(columns),
    kvMetadata,
  });
  writeAtomically(path, new Uint8Array(buffer));
}
