import { statSync } from 'node:fs';
import { allocateColumn, type Column, fillColumn, leafFits } from '../../dataset/columns.js';
import { bookkeepingKeys, type FeatureInfo } from '../../dataset/dataset-info.js';
import { columnDType } from '../../dataset/dtypes.js';
import type { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import type { EpisodeRecord } from '../../dataset/metadata-formats.js';
import { describeType, ParquetFile, type StoredType } from '../../dataset/parquet.js';
import type { FindingCode, Findings } from './findings.js';

const remedy = 'download the file again, or leave its episodes out';

/** Reads every data file whole, one at a time, and compares it with the metadata. Returns the paths of all data files. */
export async function checkData(
  metadata: LeRobotDatasetMetadata,
  findings: Findings,
  toleranceS: number,
  ranges: ValueRanges,
): Promise<Set<string>> {
  const files = new Map<string, EpisodeRecord[]>();
  for (const episode of metadata.episodes) {
    const path = metadata.dataPath(episode);
    const known = files.get(path);
    if (known === undefined) files.set(path, [episode]);
    else known.push(episode);
  }
  for (const [path, episodes] of files) {
    const complete = await checkFile(metadata, path, episodes, findings, toleranceS, ranges);
    if (!complete) ranges.incomplete = true;
  }
  return new Set(files.keys());
}

/** Which episodes a finding about a whole file concerns. */
function which(episodes: readonly EpisodeRecord[]): { episode?: number; text: string } {
  const [first, last] = [episodes[0]!.episodeIndex, episodes.at(-1)!.episodeIndex];
  if (episodes.length === 1) return { episode: first, text: `episode ${first}` };
  return { text: `${episodes.length} episodes, ${first} to ${last}` };
}

async function checkFile(
  metadata: LeRobotDatasetMetadata,
  path: string,
  episodes: readonly EpisodeRecord[],
  findings: Findings,
  toleranceS: number,
  ranges: ValueRanges,
): Promise<boolean> {
  const { episode, text } = which(episodes);
  const about = episode === undefined ? { fix: remedy } : { episode, fix: remedy };
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    findings.add('DATA_MISSING', path, `the file is missing; it holds ${text}`, about);
    return false;
  }
  if (stat.size === 0) {
    findings.add('FILE_EMPTY', path, `the file is empty; it should hold ${text}`, about);
    return false;
  }
  try {
    const file = ParquetFile.open(path, remedy);
    const keys = checkColumns(metadata, file, findings, about);
    const rows: Rows = { metadata, path, episodes, findings };
    const columns = new Map<string, Column>();
    for (const key of bookkeepingKeys) {
      if (!keys.includes(key)) continue;
      const column = await readColumn(file, key, metadata.features[key]!, rows);
      if (column !== undefined) columns.set(key, column);
    }
    if (!checkRowCounts(rows, file.rows, columns.get('episode_index'))) return false;
    checkBookkeeping(rows, columns, toleranceS);
    const listed = episodes.reduce((sum, { length }) => sum + length, 0);
    for (const [key, column] of columns) ranges.add(key, column, listed);
    for (const key of keys) {
      if (columns.has(key)) continue;
      const column = await readColumn(file, key, metadata.features[key]!, rows);
      if (column === undefined) continue;
      checkFinite(rows, key, column);
      ranges.add(key, column, listed);
    }
    return true;
  } catch (error) {
    findings.addError('DATA_UNREADABLE', path, error, about);
    return false;
  }
}

/** Compares the columns with the features. Returns the numeric ones that can be read. */
function checkColumns(
  { features }: LeRobotDatasetMetadata,
  file: ParquetFile,
  findings: Findings,
  about: { episode?: number },
): string[] {
  const readable: string[] = [];
  for (const [key, feature] of Object.entries(features)) {
    // Videos are separate files; the language columns are optional and not used here.
    if (feature.dtype === 'video' || feature.dtype === 'language') continue;
    const found = file.typeOf(key);
    if (found === undefined) {
      findings.add('COLUMN_MISSING', file.path, `the column "${key}" of info.json is missing`, about);
    } else if (!fits(found, feature)) {
      const message = `column "${key}" is ${describeType(found)}, info.json says ${feature.dtype} [${feature.shape.join(', ')}]`;
      findings.add('COLUMN_TYPE', file.path, message, about);
    } else if (columnDType(feature.dtype) !== undefined) {
      readable.push(key);
    }
  }
  const extra = file.columns.filter((key) => features[key] === undefined && key !== '__index_level_0__');
  if (extra.length > 0) {
    const message = `columns that info.json does not list are not read: ${extra.join(', ')}`;
    findings.add('COLUMN_EXTRA', file.path, message, {
      ...about,
      fix: 'list them in info.json, if they are wanted',
    });
  }
  return readable;
}

function fits({ leaf, depth }: StoredType, { dtype, shape }: FeatureInfo): boolean {
  const scalar = shape.every((size) => size === 1);
  if (dtype === 'image') return leaf === 'struct' || leaf === 'bytes';
  if (columnDType(dtype) === undefined) return dtype !== 'string' || leaf === 'string';
  if (depth === 0 && !scalar) return false;
  return leafFits(leaf, dtype);
}

async function readColumn(
  file: ParquetFile,
  key: string,
  feature: FeatureInfo,
  { episodes, findings }: Rows,
): Promise<Column | undefined> {
  const column = allocateColumn(columnDType(feature.dtype)!, feature.shape, file.rows);
  try {
    for (const group of file.rowGroups.keys()) {
      for (const { values, rowStart } of await file.readRowGroup(group, [key])) {
        const target = {
          column,
          row: rowStart,
          where: `${file.path}: column "${key}"`,
          firstFrame: rowStart,
        };
        fillColumn(target, values, 0, values.length);
      }
    }
    return column;
  } catch (error) {
    const { episode } = which(episodes);
    findings.addError('COLUMN_VALUES', file.path, error, {
      ...(episode !== undefined && { episode }),
      fix: remedy,
    });
    return undefined;
  }
}

function checkFinite({ episodes, findings, path }: Rows, key: string, { data, width }: Column): void {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return;
  let from = 0;
  for (const { episodeIndex, length } of episodes) {
    const values = data.subarray(from, from + length * width);
    from += length * width;
    let first = -1;
    let count = 0;
    for (let i = 0; i < values.length; i++) {
      if (Number.isFinite(values[i]!)) continue;
      if (count++ === 0) first = i;
    }
    if (count === 0) continue;
    const element = width === 1 ? '' : `, element ${first % width}`;
    const message = `column "${key}" is ${values[first]} at frame ${Math.floor(first / width)}${element}; ${count} such values`;
    findings.add('NOT_FINITE', path, message, {
      episode: episodeIndex,
      fix: `leave it out: craft dataset delete-episodes --episodes=[${episodeIndex}]`,
    });
  }
}

/** The rows of one data file, and which episodes the metadata puts there. */
interface Rows {
  readonly metadata: LeRobotDatasetMetadata;
  readonly path: string;
  /** In the order of their rows. */
  readonly episodes: readonly EpisodeRecord[];
  readonly findings: Findings;
}

/** Whether the file has as many rows of each episode as the metadata says. */
function checkRowCounts(rows: Rows, found: number, episodeIndex: Column | undefined): boolean {
  const { metadata, path, episodes, findings } = rows;
  const expected = episodes.reduce((sum, { length }) => sum + length, 0);
  if (found === expected) return true;
  const last = metadata.episodes.at(-1)!;
  if (found > expected && metadata.version === '3.0' && episodes.at(-1) === last) {
    // Readers follow the metadata, so the episodes before these rows are complete.
    const message = `${found - expected} rows at the end belong to no episode: a recording was cut off while saving`;
    const fix = 'LeRobotDatasetWriter.open removes them, craft dataset convert leaves them out';
    findings.add('ROWS_UNLISTED', path, message, { fix });
    return true;
  }
  const counts = new Map<number, number>();
  for (const value of episodeIndex?.data ?? [])
    counts.set(Number(value), (counts.get(Number(value)) ?? 0) + 1);
  const differing = episodes.filter(({ episodeIndex: e, length }) => (counts.get(e) ?? 0) !== length);
  const fix = 'download or record the file again, or leave the episode out';
  for (const { episodeIndex: episode, length } of differing) {
    const message = `${counts.get(episode) ?? 0} rows, ${metadata.episodesSource} says ${length}`;
    findings.add('ROW_COUNT', path, message, { episode, fix });
  }
  if (differing.length === 0)
    findings.add('ROW_COUNT', path, `${found} rows, ${metadata.episodesSource} says ${expected}`, { fix });
  return false;
}

/** Checks the bookkeeping columns; the first wrong frame of each episode and column is one finding. */
function checkBookkeeping(rows: Rows, columns: ReadonlyMap<string, Column>, toleranceS: number): void {
  const { metadata, episodes } = rows;
  const { fps, tasks, version } = metadata;
  let row = 0;
  for (const episode of episodes) {
    const at = row;
    row += episode.length;
    const check = (
      code: FindingCode,
      key: string,
      expected: (frame: number) => number,
      fits: (value: number, frame: number) => boolean = (value, frame) => value === expected(frame),
      fix = 'record or download the episode again',
    ): void => firstWrong(rows, columns.get(key), { code, key, episode, row: at, expected, fits, fix });
    check('EPISODE_INDEX', 'episode_index', () => episode.episodeIndex);
    check('FRAME_INDEX', 'frame_index', (frame) => frame);
    const near = (value: number, frame: number): boolean => Math.abs(value - frame / fps) <= toleranceS;
    check('TIMESTAMP', 'timestamp', (frame) => frame / fps, near, `check fps (${fps}) in meta/info.json`);
    const v3 = version === '3.0';
    check(
      v3 ? 'INDEX' : 'INDEX_V2',
      'index',
      (frame) => episode.fromIndex + frame,
      undefined,
      `craft dataset convert writes it right${v3 ? ' once the rows are' : '; it is corrected on reading'}`,
    );
    check(
      'TASK_UNKNOWN',
      'task_index',
      () => Number.NaN,
      (value) => tasks.has(value),
      'add the task to the tasks file, or leave the episode out',
    );
  }
}

interface Check {
  readonly code: FindingCode;
  readonly key: string;
  readonly episode: EpisodeRecord;
  readonly row: number;
  readonly expected: (frame: number) => number;
  readonly fits: (value: number, frame: number) => boolean;
  readonly fix: string;
}

function firstWrong({ path, findings }: Rows, column: Column | undefined, check: Check): void {
  if (column === undefined) return;
  const { code, key, episode, row, expected, fits, fix } = check;
  let first = -1;
  let count = 0;
  for (let frame = 0; frame < episode.length; frame++) {
    if (fits(Number(column.data[row + frame]), frame)) continue;
    if (count++ === 0) first = frame;
  }
  if (count === 0) return;
  const wanted = expected(first);
  const target = Number.isNaN(wanted) ? ', which the tasks file does not list' : `, expected ${wanted}`;
  const more = count > 1 ? `; ${count} of ${episode.length} frames are wrong` : '';
  findings.add(code, path, `${key} is ${column.data[row + first]} at frame ${first}${target}${more}`, {
    episode: episode.episodeIndex,
    fix,
  });
}

/** Smallest and largest value of each element of the numeric features, over all that was read. */
export class ValueRanges {
  /** Set when some data could not be read. */
  incomplete = false;
  readonly byKey = new Map<string, { min: Float64Array; max: Float64Array }>();

  /** @param rows Number of the column's rows to include. */
  add(key: string, { data, width }: Column, rows: number): void {
    let range = this.byKey.get(key);
    if (range === undefined) {
      range = {
        min: new Float64Array(width).fill(Number.POSITIVE_INFINITY),
        max: new Float64Array(width).fill(Number.NEGATIVE_INFINITY),
      };
      this.byKey.set(key, range);
    }
    const { min, max } = range;
    for (let i = 0; i < rows * width; i++) {
      const value = Number(data[i]);
      const element = i % width;
      if (value < min[element]!) min[element] = value;
      if (value > max[element]!) max[element] = value;
    }
  }
}
