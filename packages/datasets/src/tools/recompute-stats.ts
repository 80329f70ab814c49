import { constants, copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile, explainWriteError } from '@craft-ft/torch';
import { type OnWarning, parseJson, parseJsonLines, readTextIfPresent } from '../dataset/dataset-files.js';
import { columnDType } from '../dataset/dtypes.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { episodeTables } from '../dataset/metadata-formats.js';
import { aggregateStats, computeStats, type DatasetStats } from '../dataset/stats.js';
import { nest, statsJson } from '../writer/metadata-files.js';
import { readTable, type TableColumn, writeTable } from './metadata-tables.js';
import { readEpisodes } from './source-episodes.js';

/**
 * Computes the statistics of every numeric feature from the data, by LeRobot's definitions, and writes them where the format keeps
 * them; those of cameras are kept. Nothing is written unless all data is readable and valid. Originals are kept as `.bak`.
 *
 * @returns the statistics over the whole dataset, numeric features only.
 * @throws CraftError `DATASET_…` when the data cannot be read, naming what; `DISK_FULL`, `WRITE_FAILED`.
 */
export async function recomputeStats(root: string, warn: OnWarning = console.warn): Promise<DatasetStats> {
  const metadata = await LeRobotDatasetMetadata.load(root, { onWarning: warn });
  const { features, version } = metadata;
  const keys = Object.keys(features).filter((key) => columnDType(features[key]!.dtype) !== undefined);
  const sets = new Map<number, DatasetStats>();
  const sources = metadata.choose().map((episode) => ({ metadata, episode }));
  for await (const { episode, columns, row } of readEpisodes(sources, warn)) {
    const stats = keys.map((key) => {
      const { data, shape, width } = columns.get(key)!;
      const own = Float64Array.from(
        data.subarray(row * width, (row + episode.length) * width) as ArrayLike<number>,
        Number,
      );
      return [key, computeStats(own, shape, episode.length)] as const;
    });
    sets.set(episode.episodeIndex, Object.fromEntries(stats));
  }
  const total = aggregateStats([...sets.values()], root, warn);
  if (version === '2.1') writeLines(join(metadata.root, 'meta', 'episodes_stats.jsonl'), sets);
  else writeTotal(join(metadata.root, 'meta', 'stats.json'), total);
  if (version === '3.0') for (const path of episodeTables(metadata.root)) await writeEpisodes(path, sets);
  return total;
}

function asJson(stats: DatasetStats): Record<string, unknown> {
  return Object.fromEntries(Object.entries(stats).map(([key, values]) => [key, statsJson(values)]));
}

/** Keeps the file's statistics of other features, e.g. cameras. */
function writeTotal(path: string, stats: DatasetStats): void {
  const text = readTextIfPresent(path);
  let old: unknown = {};
  try {
    if (text !== undefined) old = parseJson(text, path);
  } catch {
    // Unreadable: its contents remain in the backup only.
  }
  replaceFile(path, JSON.stringify({ ...(old as object), ...asJson(stats) }, null, 4));
}

function writeLines(path: string, sets: ReadonlyMap<number, DatasetStats>): void {
  const old = new Map<number, object>();
  const text = existsSync(path) ? readTextIfPresent(path)! : '';
  try {
    for (const line of parseJsonLines(text, path)) {
      const { episode_index: episode, stats } = line as { episode_index: number; stats: object };
      old.set(episode, stats);
    }
  } catch {
    // Unreadable: its contents remain in the backup only.
  }
  const lines = [...sets].map(([episode, stats]) =>
    JSON.stringify({ episode_index: episode, stats: { ...old.get(episode), ...asJson(stats) } }),
  );
  replaceFile(path, `${lines.join('\n')}\n`);
}

/** The columns `stats/…` of v3.0's episodes table. */
async function writeEpisodes(path: string, sets: ReadonlyMap<number, DatasetStats>): Promise<void> {
  const table = await readTable(path);
  const episodes = table.get('episode_index')!.values.map(Number);
  const fresh = new Map<string, TableColumn>();
  for (const [key, { shape }] of Object.entries(sets.get(episodes[0]!) ?? {})) {
    const of = episodes.map((episode) => sets.get(episode)![key]!);
    for (const name of ['min', 'max', 'mean', 'std', 'count', 'q01', 'q10', 'q50', 'q90', 'q99'] as const) {
      const column = `stats/${key}/${name}`;
      // LeRobot keeps the extremes of integers as integers.
      const dtype = name === 'count' ? 'int64' : (table.get(column)?.dtype ?? 'float64');
      const values = of.map((stats) => (name === 'count' ? [stats.count] : nest(stats[name]!, shape)));
      fresh.set(column, { dtype, depth: name === 'count' ? 1 : shape.length, values });
    }
  }
  const before = [...table].filter(([name]) => !name.startsWith('meta/'));
  const after = [...table].filter(([name]) => name.startsWith('meta/'));
  keepOriginal(path);
  writeTable(path, new Map([...before, ...fresh, ...after]));
}

/**
 * Replaces a file atomically, keeping the original as `<path>.bak` (`.bak.2` and so on if that exists).
 *
 * @returns the name of the copy; undefined when there was no file.
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`.
 */
export function replaceFile(path: string, content: string | Uint8Array): string | undefined {
  const copy = existsSync(path) ? keepOriginal(path) : undefined;
  atomicWriteFile(path, content);
  return copy;
}

/** Copies a file that is about to be replaced; never overwrites another copy. */
function keepOriginal(path: string): string {
  for (let n = 1; ; n++) {
    const copy = n === 1 ? `${path}.bak` : `${path}.bak.${n}`;
    try {
      copyFileSync(path, copy, constants.COPYFILE_EXCL);
      return copy;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw explainWriteError(error, copy);
    }
  }
}
