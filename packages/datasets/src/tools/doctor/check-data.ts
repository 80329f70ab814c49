import { statSync } from 'node:fs';
import { allocateColumn, type Column } from '../../dataset/columns.js';
import { columnDType, integerRange } from '../../dataset/dtypes.js';
import { fillColumn } from '../../dataset/fill.js';
import { bookkeepingKeys, type FeatureInfo } from '../../dataset/info.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import { describeType, ParquetFile, type StoredType } from '../../dataset/parquet.js';
import { checkBookkeeping, checkRowCounts, type Rows } from './check-rows.js';
import type { Findings } from './finding.js';
import type { ValueRanges } from './value-ranges.js';

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
    // Videos are files of their own; the language columns are optional and of no use here.
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
  if (dtype.startsWith('float')) return leaf.startsWith('float');
  const [wide, narrow] = [integerRange[dtype], integerRange[leaf]];
  if (wide === undefined || narrow === undefined) return leaf === dtype;
  return narrow[0] >= wide[0] && narrow[1] <= wide[1];
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
