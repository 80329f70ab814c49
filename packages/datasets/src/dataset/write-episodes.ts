import type { DecodedArray } from 'hyparquet';
import { integerRange } from './dtypes.js';
import { isVisual, type WriteColumn, writeColumn } from './parquet-schema.js';
import type { FileSlot } from './staged.js';
import { quantileNames } from './stats.js';
import type { WrittenEpisode, WrittenFeature } from './write-metadata.js';

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
