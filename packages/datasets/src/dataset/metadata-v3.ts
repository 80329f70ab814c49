import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { missingFile, type OnWarning, parseJson, readTextIfPresent } from './files.js';
import type { DatasetInfo } from './info.js';
import type { EpisodeRecord, LoadedMetadata, VideoSegment } from './metadata.js';
import { ParquetFile } from './parquet.js';
import { type DatasetStats, parseStats } from './stats.js';

const again = 'download the dataset again, or finish the recording that wrote it';

/** Tasks, episodes and statistics of LeRobot v3.0: Parquet tables, many episodes per data and video file. */
export async function loadV3(root: string, info: DatasetInfo, warn: OnWarning): Promise<LoadedMetadata> {
  const tasks = await readTasks(join(root, 'meta', 'tasks.parquet'));
  const files = episodeFiles(root).map((path) => ParquetFile.open(path, again));
  const episodes: EpisodeRecord[] = [];
  const location = new Map<number, { file: ParquetFile; row: number }>();
  for (const file of files) {
    const rows = await readEpisodes(file, info);
    rows.forEach((episode, row) => {
      episodes.push(episode);
      location.set(episode.episodeIndex, { file, row });
    });
  }
  episodes.sort((a, b) => a.episodeIndex - b.episodeIndex);
  if (location.size !== episodes.length) {
    throw new CraftError('DATASET_EPISODES', `${root}/meta/episodes: an episode is listed twice; ${again}`);
  }
  return {
    tasks,
    episodes,
    episodesSource: 'meta/episodes',
    total: () => {
      const path = join(root, 'meta', 'stats.json');
      const text = readTextIfPresent(path);
      return text === undefined ? undefined : parseStats(parseJson(text, path), path, warn, info.totalFrames);
    },
    perEpisode: async (chosen) => {
      const sets: DatasetStats[] = [];
      for (const episode of chosen) {
        const { file, row } = location.get(episode)!;
        const columns = file.columns.filter((column) => column.startsWith('stats/'));
        if (columns.length === 0) return undefined;
        const [values] = await file.readRows(columns, row, row + 1);
        sets.push(parseStats(unflatten(values!), `${file.path}: episode ${episode}`, warn));
      }
      return sets;
    },
  };
}

/** `{'stats/action/mean': x}` → `{action: {mean: x}}`; feature names may contain slashes. */
function unflatten(row: Record<string, unknown>): Record<string, Record<string, unknown>> {
  const stats: Record<string, Record<string, unknown>> = {};
  for (const [column, value] of Object.entries(row)) {
    const split = column.lastIndexOf('/');
    const feature = column.slice('stats/'.length, split);
    stats[feature] ??= {};
    stats[feature][column.slice(split + 1)] = value ?? undefined;
  }
  // A row of nulls is an episode without this feature's statistics.
  return Object.fromEntries(Object.entries(stats).filter(([, values]) => values.mean !== undefined));
}

/** The text is in the column `task`, in older files in pandas' `__index_level_0__`. */
async function readTasks(path: string): Promise<Map<number, string>> {
  const file = ParquetFile.open(path, again);
  const textColumn = ['task', '__index_level_0__'].find((name) => file.typeOf(name)?.leaf === 'string');
  if (textColumn === undefined || file.typeOf('task_index') === undefined) {
    const found = file.columns.join(', ');
    const message = `${path}: expected the columns task_index and task (or __index_level_0__), found ${found}`;
    throw new CraftError('DATASET_COLUMN_MISSING', message);
  }
  const rows = await file.readRows(['task_index', textColumn]);
  return new Map(rows.map((row) => [Number(row.task_index), String(row[textColumn])]));
}

function episodeFiles(root: string): string[] {
  const folder = join(root, 'meta', 'episodes');
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch {
    throw missingFile(folder, again);
  }
  const files = names.filter((name) => /^chunk-\d+[\\/]file-\d+\.parquet$/.test(name)).sort();
  if (files.length === 0) throw missingFile(join(folder, 'chunk-000', 'file-000.parquet'), again);
  return files.map((name) => join(folder, name));
}

async function readEpisodes(file: ParquetFile, info: DatasetInfo): Promise<EpisodeRecord[]> {
  const segmentColumns = (key: string): string[] =>
    ['chunk_index', 'file_index', 'from_timestamp', 'to_timestamp'].map((name) => `videos/${key}/${name}`);
  const videoKeys = Object.keys(info.features).filter((key) =>
    segmentColumns(key).every((column) => file.typeOf(column) !== undefined),
  );
  const required = [
    'episode_index',
    'length',
    'dataset_from_index',
    'dataset_to_index',
    'data/chunk_index',
    'data/file_index',
  ];
  for (const column of required) {
    if (file.typeOf(column) !== undefined) continue;
    throw new CraftError(
      'DATASET_COLUMN_MISSING',
      `${file.path}: the column "${column}" is missing; ${again}`,
    );
  }
  const optional = file.typeOf('tasks') === undefined ? [] : ['tasks'];
  const rows = await file.readRows([...required, ...optional, ...videoKeys.flatMap(segmentColumns)]);
  return rows.map((row, i) => {
    const number = (column: string): number => {
      const value = row[column];
      const asNumber = typeof value === 'bigint' || typeof value === 'number' ? Number(value) : Number.NaN;
      if (Number.isFinite(asNumber)) return asNumber;
      throw new CraftError(
        'DATASET_EPISODES',
        `${file.path}: column "${column}", row ${i}: ${value} is not a number; ${again}`,
      );
    };
    const episode: EpisodeRecord = {
      episodeIndex: number('episode_index'),
      length: number('length'),
      tasks: Array.isArray(row.tasks) ? row.tasks.map(String) : [],
      fromIndex: number('dataset_from_index'),
      dataChunk: number('data/chunk_index'),
      dataFile: number('data/file_index'),
      videos: Object.fromEntries(
        videoKeys.flatMap((key): [string, VideoSegment][] => {
          const [chunkIndex, fileIndex, fromTimestamp, toTimestamp] = segmentColumns(key).map((name) =>
            Number(row[name] ?? Number.NaN),
          ) as [number, number, number, number];
          // An episode may lack a camera; that matters only to who asks for its frames.
          return Number.isFinite(chunkIndex + fileIndex + fromTimestamp + toTimestamp)
            ? [[key, { chunkIndex, fileIndex, fromTimestamp, toTimestamp }]]
            : [];
        }),
      ),
    };
    const range = number('dataset_to_index') - episode.fromIndex;
    if (episode.length < 1 || range !== episode.length) {
      throw new CraftError(
        'DATASET_EPISODES',
        `${file.path}: episode ${episode.episodeIndex} has length ${episode.length} but an index range of ${range}; ${again}`,
      );
    }
    return episode;
  });
}
