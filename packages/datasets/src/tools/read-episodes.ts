import { type Column, readColumns } from '../dataset/columns.js';
import { columnDType } from '../dataset/dtypes.js';
import type { OnWarning } from '../dataset/files.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { verifyColumns } from '../dataset/verify.js';
import { type OtherColumns, OtherReader } from './read-others.js';

/** One episode of an existing dataset, to become an episode of a new one. */
export interface SourceEpisode {
  readonly metadata: LeRobotDatasetMetadata;
  readonly episode: EpisodeRecord;
}

/** An episode and its values, from row `row` of `columns` on. */
export interface ReadEpisode extends SourceEpisode {
  readonly columns: ReadonlyMap<string, Column>;
  readonly row: number;
  /** What is not a number: texts and pictures. */
  readonly others: OtherColumns;
  /** The instruction of each frame. */
  readonly tasks: readonly string[];
}

/** The episodes with all their values but videos; consecutive episodes of one file are read together. */
export async function* readEpisodes(
  episodes: readonly SourceEpisode[],
  warn: OnWarning,
): AsyncGenerator<ReadEpisode> {
  const { features } = episodes[0]!.metadata;
  const numeric = Object.keys(features).filter((key) => columnDType(features[key]!.dtype) !== undefined);
  const other = Object.keys(features).filter((key) => ['string', 'image'].includes(features[key]!.dtype));
  const reader = new OtherReader();
  for (let start = 0; start < episodes.length; ) {
    const { metadata, episode } = episodes[start]!;
    const path = metadata.dataPath(episode);
    let end = start + 1;
    while (
      end < episodes.length &&
      episodes[end]!.metadata === metadata &&
      metadata.dataPath(episodes[end]!.episode) === path
    )
      end++;
    const group = episodes.slice(start, end).map((source) => source.episode);
    const columns = await readColumns(metadata, group, numeric);
    verifyColumns(metadata, group, columns, warn);
    let row = 0;
    for (const one of group) {
      const source = { metadata, episode: one };
      const others = other.length === 0 ? new Map() : await reader.read(source, other);
      const taskIndex = columns.get('task_index')!.data.subarray(row, row + one.length);
      const tasks = Array.from(
        taskIndex as ArrayLike<number | bigint>,
        (index) => metadata.tasks.get(Number(index))!,
      );
      yield { ...source, columns, row, others, tasks };
      row += one.length;
    }
    start = end;
  }
}
