import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type OnWarning, parseJsonLines, readTextIfPresent } from '../dataset/files.js';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { type DatasetStats, parseStats } from '../dataset/stats.js';
import { readTable } from './table.js';

/**
 * Every episode's own statistics in one reading: meta/episodes of v3.0, episodes_stats.jsonl of v2.1; v2.0 has none.
 *
 * @throws CraftError `DATASET_STATS`, `DATASET_FILE_INVALID`.
 */
export async function readEpisodeStats(
  { root, version }: LeRobotDatasetMetadata,
  warn: OnWarning,
): Promise<Map<number, DatasetStats>> {
  const result = new Map<number, DatasetStats>();
  if (version === '3.0') {
    for (const path of episodesFiles(root)) {
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
          // A null is an episode without this feature's statistics.
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

/** The Parquet files of meta/episodes, sorted. */
export function episodesFiles(root: string): string[] {
  const folder = join(root, 'meta', 'episodes');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /^chunk-\d+[\\/]file-\d+\.parquet$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}
