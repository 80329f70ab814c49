import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { missingFile, type OnWarning, parseJson, parseJsonLines, readTextIfPresent } from './files.js';
import type { DatasetInfo } from './info.js';
import type { EpisodeRecord, LoadedMetadata } from './metadata.js';
import { type DatasetStats, parseStats } from './stats.js';

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
