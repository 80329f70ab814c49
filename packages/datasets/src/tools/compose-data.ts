import { CraftError } from '@craft-ft/torch';
import { computeStats } from '../dataset/compute-stats.js';
import type { OnWarning } from '../dataset/files.js';
import { isBookkeeping } from '../dataset/info.js';
import type { DatasetStats } from '../dataset/stats.js';
import type { WrittenEpisode } from '../dataset/write-metadata.js';
import type { ComposeOptions } from './compose.js';
import { DataWriter, type EpisodeNumbers } from './data-writer.js';
import { type ReadEpisode, readEpisodes, type SourceEpisode } from './read-episodes.js';

/** Writes the data files. Returns the episodes as the metadata needs them, without videos, and all tasks. */
export async function composeData(
  episodes: readonly SourceEpisode[],
  root: string,
  options: ComposeOptions,
  warn: OnWarning,
): Promise<{ written: WrittenEpisode[]; tasks: string[] }> {
  const { features } = episodes[0]!.metadata;
  const writer = new DataWriter(root, features, (options.dataFilesSizeInMb ?? 100) * 2 ** 20);
  const written: WrittenEpisode[] = [];
  const taskIndex = new Map<string, number>();
  let from = 0;
  for await (const source of readEpisodes(episodes, warn)) {
    checkTimestamps(source, options.toleranceS ?? 1e-4);
    const index = written.length;
    const { length } = source.episode;
    const numbers = renumbered(source, index, from, taskIndex);
    const data = writer.write(numbers, source.others, length);
    const stats: DatasetStats = {};
    for (const [key, values] of numbers)
      stats[key] = computeStats(
        Float64Array.from(values as ArrayLike<number>, Number),
        features[key]!.shape,
        length,
      );
    const tasks = [...new Set(source.tasks)];
    written.push({ index, length, fromIndex: from, tasks, data, videos: {}, stats });
    from += length;
    options.onProgress?.(written.length, episodes.length);
  }
  writer.finish();
  return { written, tasks: [...taskIndex.keys()] };
}

/** The episode's numbers, those of LeRobot itself by its new place. Tasks are numbered as they come. */
function renumbered(
  { metadata, episode, columns, row, tasks }: ReadEpisode,
  index: number,
  from: number,
  taskIndex: Map<string, number>,
): EpisodeNumbers {
  const { length } = episode;
  const integers = (of: (frame: number) => number): BigInt64Array =>
    BigInt64Array.from({ length }, (_, frame) => BigInt(of(frame)));
  for (const task of tasks) if (!taskIndex.has(task)) taskIndex.set(task, taskIndex.size);
  const own: Record<string, () => ArrayLike<number> | BigInt64Array> = {
    timestamp: () => Float32Array.from({ length }, (_, frame) => frame / metadata.fps),
    frame_index: () => integers((frame) => frame),
    episode_index: () => integers(() => index),
    index: () => integers((frame) => from + frame),
    task_index: () => integers((frame) => taskIndex.get(tasks[frame]!)!),
  };
  return new Map(
    [...columns].map(([key, { data, width }]) => [
      key,
      isBookkeeping(key) ? own[key]!() : data.subarray(row * width, (row + length) * width),
    ]),
  );
}

/** New timestamps are frame / fps; a source whose own differ would lose them. */
function checkTimestamps({ metadata, episode, columns, row }: ReadEpisode, toleranceS: number): void {
  const { data } = columns.get('timestamp')!;
  for (let frame = 0; frame < episode.length; frame++) {
    const found = Number(data[row + frame]);
    const expected = frame / metadata.fps;
    if (Math.abs(found - expected) <= toleranceS) continue;
    throw new CraftError(
      'TOOL_TIMESTAMP',
      `${metadata.root}: frame ${frame} of episode ${episode.episodeIndex} is at ${found} s, expected ${expected} s at ` +
        `${metadata.fps} fps; run craft dataset doctor, and leave the episode out`,
    );
  }
}
