import { type Column, readColumns, withBookkeeping } from '../datasets/columns.js';
import type { OnWarning } from '../datasets/files.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../datasets/metadata.js';
import { verifyColumns } from '../datasets/verify.js';

/** One episode of an existing dataset, to become an episode of a new one. */
export interface SourceEpisode {
  readonly metadata: LeRobotDatasetMetadata;
  readonly episode: EpisodeRecord;
}

/** An episode and its values, from row `row` of `columns` on. */
export interface ReadEpisode extends SourceEpisode {
  readonly columns: ReadonlyMap<string, Column>;
  readonly row: number;
}

/** The episodes with their rows; consecutive episodes of one file are read together. */
export async function* readEpisodes(
  episodes: readonly SourceEpisode[],
  keys: readonly string[],
  warn: OnWarning,
): AsyncGenerator<ReadEpisode> {
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
    const columns = await readColumns(metadata, group, withBookkeeping([...keys]));
    verifyColumns(metadata, group, columns, warn);
    let row = 0;
    for (const one of group) {
      yield { metadata, episode: one, columns, row };
      row += one.length;
    }
    start = end;
  }
}
