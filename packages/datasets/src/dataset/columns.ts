import { CraftError } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import type { OnWarning } from './dataset-files.js';
import { bookkeepingKeys, type FeatureInfo } from './dataset-info.js';
import {
  type ColumnArray,
  type ColumnDType,
  columnDType,
  elementBytes,
  elements,
  integerRange,
  viewAs,
} from './dtypes.js';
import type { LeRobotDatasetMetadata } from './metadata.js';
import type { EpisodeRecord } from './metadata-formats.js';
import { describeType, ParquetFile, type StoredType } from './parquet.js';

/** One feature of all loaded frames, in one buffer that worker threads can share. */
export interface Column {
  readonly dtype: ColumnDType;
  /** Shape of one frame. */
  readonly shape: readonly number[];
  /** Elements of one frame. */
  readonly width: number;
  /** Row-major `[rows, width]`. */
  readonly data: ColumnArray;
  /** The same memory as bytes. */
  readonly bytes: Uint8Array;
}

/** Reserves a column for `rows` frames. */
export function allocateColumn(dtype: ColumnDType, shape: readonly number[], rows: number): Column {
  const width = elements(shape);
  const buffer = new SharedArrayBuffer(rows * width * elementBytes[dtype]);
  return { dtype, shape, width, data: viewAs(dtype, buffer), bytes: new Uint8Array(buffer) };
}

/** A range of rows in one file and the rows of the columns that they go to. */
interface Segment {
  readonly episode: EpisodeRecord;
  /** First row within the file. */
  readonly fileRow: number;
  /** First row of the columns. */
  readonly row: number;
}

/**
 * Reads the numeric columns `keys` of the chosen episodes; rows are in the order of `episodes`. Opens only the files of these
 * episodes and decodes only the row groups that hold them.
 *
 * @param keys Dataset keys (before any renaming) of numeric features.
 * @throws CraftError `DATASET_FILE_MISSING`, `DATASET_FILE_INVALID`, `DATASET_COLUMN_MISSING`, `DATASET_COLUMN_TYPE`,
 * `DATASET_COLUMN_WIDTH`, `DATASET_NULL`, `DATASET_ROWS`: each names file, column, and what was expected and found.
 */
export async function readColumns(
  metadata: LeRobotDatasetMetadata,
  episodes: readonly EpisodeRecord[],
  keys: readonly string[],
): Promise<Map<string, Column>> {
  const rows = episodes.reduce((sum, episode) => sum + episode.length, 0);
  const columns = new Map(
    keys.map((key) => {
      const { dtype, shape } = metadata.features[key]!;
      return [key, allocateColumn(columnDType(dtype)!, shape, rows)];
    }),
  );
  for (const [path, { segments, rows: fileRows, episodes: count }] of segmentsByFile(metadata, episodes)) {
    const episode = segments[0]!.episode.episodeIndex;
    const file = ParquetFile.open(path, `download it, or leave out episode ${episode}`);
    if (file.rows !== fileRows && !(file.rows > fileRows && mayHoldMore(metadata, segments))) {
      const which = count === 1 ? `episode ${episode}` : `its ${count} episodes`;
      throw new CraftError(
        'DATASET_ROWS',
        `${path}: has ${file.rows} rows, ${metadata.episodesSource} says ${fileRows} for ${which}; download or record the dataset again`,
      );
    }
    for (const key of keys) checkType(file, key, metadata.features[key]!);
    await readFile(file, segments, columns);
  }
  return columns;
}

/**
 * A recording that crashes between writing an episode's rows and listing the episode leaves rows at the end of the last file that
 * belong to no episode; the episodes before them are complete.
 */
function mayHoldMore(metadata: LeRobotDatasetMetadata, segments: readonly Segment[]): boolean {
  const { dataChunk, dataFile } = segments[0]!.episode;
  const last = metadata.episodes.at(-1)!;
  return metadata.version === '3.0' && dataChunk === last.dataChunk && dataFile === last.dataFile;
}

/** The contents of a data file according to the metadata, and which part of it is read. */
interface FilePlan {
  readonly rows: number;
  readonly episodes: number;
  readonly segments: Segment[];
}

function segmentsByFile(
  metadata: LeRobotDatasetMetadata,
  chosen: readonly EpisodeRecord[],
): Map<string, FilePlan> {
  const contents = new Map<string, { start: number; rows: number; episodes: number }>();
  const fileOf = (episode: EpisodeRecord): string => `${episode.dataChunk}/${episode.dataFile}`;
  for (const episode of metadata.episodes) {
    const known = contents.get(fileOf(episode)) ?? { start: episode.fromIndex, rows: 0, episodes: 0 };
    contents.set(fileOf(episode), {
      start: Math.min(known.start, episode.fromIndex),
      rows: known.rows + episode.length,
      episodes: known.episodes + 1,
    });
  }
  const plans = new Map<string, FilePlan>();
  let row = 0;
  for (const episode of chosen) {
    const path = metadata.dataPath(episode);
    const { start, ...content } = contents.get(fileOf(episode))!;
    const plan = plans.get(path) ?? { ...content, segments: [] };
    plans.set(path, plan);
    plan.segments.push({ episode, fileRow: episode.fromIndex - start, row });
    row += episode.length;
  }
  return plans;
}

/** Floats may be stored in any float width and integers in any narrower one, as LeRobot casts on loading. */
function checkType(file: ParquetFile, key: string, feature: FeatureInfo): void {
  const found = file.typeOf(key);
  if (found === undefined) {
    throw new CraftError(
      'DATASET_COLUMN_MISSING',
      `${file.path}: the column "${key}" is missing; it has ${file.columns.join(', ')}`,
    );
  }
  const scalar = elements(feature.shape) === 1;
  const list = found.depth > 0 || scalar;
  if (list && leafFits(found.leaf, feature.dtype)) return;
  const expected: StoredType = { depth: scalar ? 0 : feature.shape.length, leaf: feature.dtype };
  throw new CraftError(
    'DATASET_COLUMN_TYPE',
    `${file.path}: column "${key}" is ${describeType(found)}, info.json says ${describeType(expected)}`,
  );
}

/** Whether a column stored as `found` can be read as `declared`: floats in any width, integers in any narrower one. */
export function leafFits(found: string, declared: string): boolean {
  if (declared.startsWith('float')) return found.startsWith('float');
  const wide = integerRange[declared];
  const narrow = integerRange[found];
  if (wide === undefined || narrow === undefined) return found === declared;
  return narrow[0] >= wide[0] && narrow[1] <= wide[1];
}

async function readFile(
  file: ParquetFile,
  segments: readonly Segment[],
  columns: ReadonlyMap<string, Column>,
): Promise<void> {
  const filled = new Map<string, number>();
  const keys = [...columns.keys()];
  for (const [group, [start, end]] of file.rowGroups.entries()) {
    if (!segments.some(({ fileRow, episode }) => fileRow < end && fileRow + episode.length > start)) continue;
    for (const { column: key, rowStart, values } of await file.readRowGroup(group, keys)) {
      for (const { episode, fileRow, row } of segments) {
        const from = Math.max(fileRow, rowStart);
        const to = Math.min(fileRow + episode.length, rowStart + values.length);
        if (from >= to) continue;
        const target: FillTarget = {
          column: columns.get(key)!,
          row: row + from - fileRow,
          where: `${file.path}: column "${key}", episode ${episode.episodeIndex}`,
          firstFrame: from - fileRow,
        };
        fillColumn(target, values, from - rowStart, to - rowStart);
        filled.set(key, (filled.get(key) ?? 0) + to - from);
      }
    }
  }
  const wanted = segments.reduce((sum, { episode }) => sum + episode.length, 0);
  for (const key of keys) {
    const found = filled.get(key) ?? 0;
    if (found === wanted) continue;
    throw new CraftError(
      'DATASET_ROWS',
      `${file.path}: column "${key}" has ${found} of the ${wanted} rows needed; download or record the file again`,
    );
  }
}

/** `keys` and the bookkeeping columns, which are always read. */
export function withBookkeeping(keys: readonly string[]): string[] {
  return [...new Set([...keys, ...bookkeepingKeys])];
}

/** Where decoded values go, and how errors name that place. */
interface FillTarget {
  readonly column: Column;
  /** First row of the column to fill. */
  readonly row: number;
  /** File, column and episode. */
  readonly where: string;
  /** Frame of the episode that `row` is. */
  readonly firstFrame: number;
}

/**
 * Copies decoded values `[from, to)` into consecutive rows of a column: scalars one by one, nested lists flattened.
 *
 * @throws CraftError `DATASET_NULL`, `DATASET_COLUMN_WIDTH`, naming the frame.
 */
export function fillColumn(target: FillTarget, values: DecodedArray, from: number, to: number): void {
  const { data, width } = target.column;
  let at = target.row * width;
  if (sameKind(data, values)) {
    data.set(values.subarray(from, to) as never, at);
    return;
  }
  const put = data instanceof BigInt64Array ? putBigInt(data) : putNumber(data);
  for (let i = from; i < to; i++) {
    const value: unknown = values[i];
    const count = Array.isArray(value) ? putNested(put, at, value) : put(at, value);
    if (count === width) {
      at += width;
      continue;
    }
    const frame = target.firstFrame + i - from;
    if (Number.isNaN(count)) {
      throw new CraftError('DATASET_NULL', `${target.where}, frame ${frame}: a value is missing (null)`);
    }
    throw new CraftError(
      'DATASET_COLUMN_WIDTH',
      `${target.where}, frame ${frame}: ${count} values, info.json says ${width} (shape [${target.column.shape.join(', ')}])`,
    );
  }
}

/** Writes one value and returns 1, or NaN for null. */
type Put = (at: number, value: unknown) => number;

function putNumber(data: Exclude<Column['data'], BigInt64Array>): Put {
  return (at, value) => {
    if (value === null || value === undefined) return Number.NaN;
    data[at] = Number(value);
    return 1;
  };
}

function putBigInt(data: BigInt64Array): Put {
  return (at, value) => {
    if (value === null || value === undefined) return Number.NaN;
    data[at] = typeof value === 'bigint' ? value : BigInt(value as number);
    return 1;
  };
}

/** Writes a nested list from `at` on and returns the number of values. */
function putNested(put: Put, at: number, list: readonly unknown[]): number {
  let count = 0;
  for (const item of list)
    count += Array.isArray(item) ? putNested(put, at + count, item) : put(at + count, item);
  return count;
}

/** Whether values can be copied as a block: both typed arrays of one class, one value per row. */
function sameKind(data: Column['data'], values: DecodedArray): values is Exclude<DecodedArray, unknown[]> {
  return ArrayBuffer.isView(values) && values.constructor === data.constructor;
}

/**
 * Checks what was read against the metadata: every row belongs to the right episode and frame, every task exists, every float is
 * finite. An `index` column that disagrees is an error in v3.0. In v2.x files third-party converters often restart it; there it is
 * corrected from the episode lengths with one warning.
 *
 * @param columns By dataset key, with all bookkeeping columns.
 * @throws CraftError `DATASET_ROWS`, `DATASET_TASK`, `DATASET_NAN`, naming file, column, episode and frame.
 */
export function verifyColumns(
  metadata: LeRobotDatasetMetadata,
  episodes: readonly EpisodeRecord[],
  columns: ReadonlyMap<string, Column>,
  warn: OnWarning,
): void {
  const int64 = (key: string): BigInt64Array => columns.get(key)!.data as BigInt64Array;
  const episodeIndex = int64('episode_index');
  const frameIndex = int64('frame_index');
  const index = int64('index');
  const taskIndex = int64('task_index');
  let corrected: string | undefined;
  let row = 0;
  for (const episode of episodes) {
    const path = metadata.dataPath(episode);
    const expectEqual = (column: string, frame: number, found: bigint, expected: number): void => {
      if (found === BigInt(expected)) return;
      throw new CraftError(
        'DATASET_ROWS',
        `${path}: column "${column}" is ${found} at frame ${frame} of episode ${episode.episodeIndex}, ` +
          `expected ${expected} by ${metadata.episodesSource}; download or record the dataset again`,
      );
    };
    for (let frame = 0; frame < episode.length; frame++, row++) {
      expectEqual('episode_index', frame, episodeIndex[row]!, episode.episodeIndex);
      expectEqual('frame_index', frame, frameIndex[row]!, frame);
      if (index[row] !== BigInt(episode.fromIndex + frame)) {
        if (metadata.version === '3.0') expectEqual('index', frame, index[row]!, episode.fromIndex + frame);
        index[row] = BigInt(episode.fromIndex + frame);
        corrected ??= path;
      }
      // Some converters write recordings without any instruction with an empty task table.
      if (metadata.tasks.size === 0 || metadata.tasks.has(Number(taskIndex[row]))) continue;
      throw new CraftError(
        'DATASET_TASK',
        `${path}: column "task_index" is ${taskIndex[row]} at frame ${frame} of episode ${episode.episodeIndex}, which the tasks file does not list`,
      );
    }
    verifyFinite(path, episode, columns, row - episode.length);
  }
  if (corrected !== undefined) {
    warn(
      `${corrected}: column "index" does not count frames through the dataset; it is corrected from the episode lengths`,
    );
  }
}

function verifyFinite(
  path: string,
  episode: EpisodeRecord,
  columns: ReadonlyMap<string, Column>,
  firstRow: number,
): void {
  for (const [key, { data, width }] of columns) {
    if (!(data instanceof Float32Array || data instanceof Float64Array)) continue;
    const from = firstRow * width;
    const to = from + episode.length * width;
    for (let i = from; i < to; i++) {
      if (Number.isFinite(data[i]!)) continue;
      const frame = Math.floor((i - from) / width);
      const element = width === 1 ? '' : `, element ${(i - from) % width}`;
      throw new CraftError(
        'DATASET_NAN',
        `${path}: column "${key}" is ${data[i]} at frame ${frame} of episode ${episode.episodeIndex}${element}; repair or leave out the episode`,
      );
    }
  }
}
