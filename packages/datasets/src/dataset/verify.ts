import { CraftError } from '@craft-ft/torch';
import type { Column } from './columns.js';
import type { OnWarning } from './files.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from './metadata.js';

/**
 * Checks what was read against the metadata: every row belongs to the episode and frame it should, every task exists, every
 * float is finite. An `index` column that disagrees is an error in v3.0; v2.x files of third-party converters often restart
 * it, there it is corrected from the episode lengths with one warning.
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
      // Recordings without any instruction are listed by some converters as an empty table.
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
