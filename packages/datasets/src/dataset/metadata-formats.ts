import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import {
  missingFile,
  type OnWarning,
  parseJson,
  parseJsonLines,
  readTextIfPresent,
} from './dataset-files.js';
import type { DatasetInfo } from './dataset-info.js';
import { ParquetFile } from './parquet.js';
import { type DatasetStats, parseStats } from './stats.js';

/** Where an episode's frames are inside one camera's video files. */
export interface VideoSegment {
  readonly chunkIndex: number;
  readonly fileIndex: number;
  /** Seconds within the file. */
  readonly fromTimestamp: number;
  readonly toTimestamp: number;
}

/** One episode as the metadata describes it. */
export interface EpisodeRecord {
  readonly episodeIndex: number;
  /** Frames. */
  readonly length: number;
  readonly tasks: readonly string[];
  /** Dataset-wide `index` of the first frame. */
  readonly fromIndex: number;
  readonly dataChunk: number;
  readonly dataFile: number;
  /** By video feature. */
  readonly videos: Readonly<Record<string, VideoSegment>>;
}

/** Result of the version-specific readers. */
export interface LoadedMetadata {
  readonly tasks: ReadonlyMap<number, string>;
  /** Sorted by episode index. */
  readonly episodes: readonly EpisodeRecord[];
  /** Name of the file (relative to the root) that lists episodes, for messages. */
  readonly episodesSource: string;
  /** Statistics over the whole dataset, if it stores them. */
  readonly total: () => DatasetStats | undefined;
  /** Statistics per episode, in the requested order; undefined if the dataset has none. */
  readonly perEpisode: (episodes: readonly number[]) => Promise<DatasetStats[] | undefined>;
}

const taskLine = z.looseObject({ task_index: z.int().nonnegative(), task: z.string() });
const episodeLine = z.looseObject({
  episode_index: z.int().nonnegative(),
  tasks: z.array(z.string()).default([]),
  length: z.int().positive(),
});
const statsLine = z.looseObject({ episode_index: z.int().nonnegative(), stats: z.unknown() });

/** Tasks, episodes and statistics of LeRobot v2.0 and v2.1: JSON Lines, one data file and one video file per episode. */
export function loadV2(root: string, info: DatasetInfo, warn: OnWarning): LoadedMetadata {
  const tasks = new Map(
    readLines(root, 'meta/tasks.jsonl', taskLine).map((line) => [line.task_index, line.task]),
  );
  const lines = readLines(root, 'meta/episodes.jsonl', episodeLine);
  lines.sort((a, b) => a.episode_index - b.episode_index);
  const videoKeys = Object.keys(info.features).filter((key) => info.features[key]!.dtype === 'video');
  let fromIndex = 0;
  const episodes = lines.map((line): EpisodeRecord => {
    const chunk = Math.floor(line.episode_index / info.chunksSize);
    const segment = {
      chunkIndex: chunk,
      fileIndex: line.episode_index,
      fromTimestamp: 0,
      toTimestamp: line.length / info.fps,
    };
    const record = {
      episodeIndex: line.episode_index,
      length: line.length,
      tasks: line.tasks,
      fromIndex,
      dataChunk: chunk,
      dataFile: line.episode_index,
      videos: Object.fromEntries(videoKeys.map((key) => [key, segment])),
    };
    fromIndex += line.length;
    return record;
  });
  return {
    tasks,
    episodes,
    episodesSource: 'meta/episodes.jsonl',
    total: () => totalStats(root, info, warn),
    perEpisode: async (chosen) => episodeStats(root, chosen, warn),
  };
}

/** meta/stats.json: v2.0 only, and without counts. */
function totalStats(root: string, info: DatasetInfo, warn: OnWarning): DatasetStats | undefined {
  const path = join(root, 'meta', 'stats.json');
  const text = info.version === '2.0' ? readTextIfPresent(path) : undefined;
  return text === undefined ? undefined : parseStats(parseJson(text, path), path, warn, info.totalFrames);
}

function episodeStats(root: string, chosen: readonly number[], warn: OnWarning): DatasetStats[] | undefined {
  const name = 'meta/episodes_stats.jsonl';
  const path = join(root, name);
  if (readTextIfPresent(path) === undefined) return undefined;
  const byEpisode = new Map(readLines(root, name, statsLine).map((line) => [line.episode_index, line.stats]));
  return chosen.map((episode) => {
    const stats = byEpisode.get(episode);
    if (stats !== undefined) return parseStats(stats, `${path}: episode ${episode}`, warn);
    throw new CraftError(
      'DATASET_STATS',
      `${path}: there are no statistics of episode ${episode}; download the file again`,
    );
  });
}

function readLines<T extends z.ZodType>(root: string, name: string, schema: T): z.infer<T>[] {
  const path = join(root, name);
  const text = readTextIfPresent(path);
  if (text === undefined) throw missingFile(path, 'download the dataset again');
  return parseJsonLines(text, path).map((value, i) => {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const issue = result.error.issues[0]!;
    throw new CraftError(
      'DATASET_FILE_INVALID',
      `${path}: entry ${i + 1}, field "${issue.path.map(String).join('.')}": ${issue.message}`,
    );
  });
}

const again = 'download the dataset again, or finish the recording that wrote it';

/** Tasks, episodes and statistics of LeRobot v3.0: Parquet tables, many episodes per data and video file. */
export async function loadV3(root: string, info: DatasetInfo, warn: OnWarning): Promise<LoadedMetadata> {
  const tasks = await readTasks(join(root, 'meta', 'tasks.parquet'));
  const files = episodeTables(root).map((path) => ParquetFile.open(path, again));
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
  // A row of nulls: the episode has no statistics of this feature.
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

/** The Parquet files of meta/episodes, sorted. @throws CraftError `DATASET_FILE_MISSING` */
export function episodeTables(root: string): string[] {
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
          // An episode may lack a camera; that is an error only when its frames are read.
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
