import { join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { type OnWarning, parseJsonLines, readTextIfPresent } from '../dataset/dataset-files.js';
import { integerRange } from '../dataset/dtypes.js';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { episodeTables } from '../dataset/metadata-formats.js';
import { ParquetFile } from '../dataset/parquet.js';
import { type DatasetStats, parseStats } from '../dataset/stats.js';
import { fileSchema, writeColumn } from '../writer/parquet-writer.js';

/** A column of a small table: element type, list depth, one value per row. */
export interface TableColumn {
  readonly dtype: string;
  readonly depth: number;
  readonly values: readonly unknown[];
}

/** Reads a whole table of metadata. @throws CraftError as {@link ParquetFile}. */
export async function readTable(path: string): Promise<Map<string, TableColumn>> {
  const file = ParquetFile.open(path, 'download the dataset again');
  const rows = await file.readRows(file.columns);
  return new Map(
    file.columns.map((name) => {
      const { leaf, depth } = file.typeOf(name)!;
      return [name, { dtype: leaf, depth, values: rows.map((row) => row[name]) }];
    }),
  );
}

/** Writes a table atomically. */
export function writeTable(path: string, table: ReadonlyMap<string, TableColumn>): void {
  const columns = [...table].map(([name, { dtype, depth }]) => writeColumn(name, dtype, depth));
  const columnData = [...table].map(([name, { dtype, values }]) => ({
    name,
    data: values.map((value) => convert(value, dtype)) as DecodedArray,
  }));
  atomicWriteFile(path, new Uint8Array(parquetWriteBuffer({ columnData, schema: fileSchema(columns) })));
}

/** Numbers of nested lists as the writer expects them: bigint for int64, number for the rest. */
function convert(value: unknown, dtype: string): unknown {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    return Array.from(value as ArrayLike<unknown>, (item) => convert(item, dtype));
  }
  if (dtype === 'int64') {
    const [low, high] = integerRange.int64!;
    // Statistics are float64: the extremes of int64 round to just outside its range.
    const whole = BigInt(value as number | bigint);
    return whole < low ? low : whole > high ? high : whole;
  }
  return typeof value === 'bigint' ? Number(value) : value;
}

/**
 * Reads the statistics of all episodes at once: meta/episodes of v3.0, episodes_stats.jsonl of v2.1; v2.0 has none.
 *
 * @throws CraftError `DATASET_STATS`, `DATASET_FILE_INVALID`.
 */
export async function readEpisodeStats(
  { root, version }: LeRobotDatasetMetadata,
  warn: OnWarning,
): Promise<Map<number, DatasetStats>> {
  const result = new Map<number, DatasetStats>();
  if (version === '3.0') {
    for (const path of episodeTables(root)) {
      const table = await readTable(path);
      const episodes = table.get('episode_index')?.values ?? [];
      const names = [...table.keys()].filter((name) => name.startsWith('stats/'));
      if (names.length === 0) continue;
      episodes.forEach((index, row) => {
        const episode = Number(index);
        const json: Record<string, Record<string, unknown>> = {};
        for (const name of names) {
          const value = table.get(name)!.values[row];
          const at = name.lastIndexOf('/');
          // null: the episode has no statistics of this feature.
          if (value === null || value === undefined) continue;
          const feature = name.slice('stats/'.length, at);
          json[feature] ??= {};
          json[feature][name.slice(at + 1)] = value;
        }
        result.set(episode, parseStats(json, `${path}: episode ${episode}`, warn));
      });
    }
    return result;
  }
  const path = join(root, 'meta', 'episodes_stats.jsonl');
  const text = readTextIfPresent(path);
  if (text === undefined) return result;
  for (const line of parseJsonLines(text, path)) {
    const { episode_index: episode, stats } = line as { episode_index: number; stats: unknown };
    result.set(episode, parseStats(stats, `${path}: episode ${episode}`, warn));
  }
  return result;
}
