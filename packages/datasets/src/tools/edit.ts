import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import type { EpisodeRecord } from '../dataset/metadata-formats.js';
import { type Composed, type ComposeOptions, checkVacant, composeDataset } from './compose.js';

/** Options of {@link convertDataset}. */
export interface ConvertOptions extends ComposeOptions {
  /** Episodes to convert. Default: all. */
  episodes?: readonly number[];
}

/**
 * Writes a v2.0 or v2.1 dataset as v3.0 (or rewrites a v3.0 one with every index and window corrected), and verifies the result:
 * see {@link composeDataset}. The source is only read.
 *
 * @throws CraftError as {@link composeDataset}.
 */
export async function convertDataset(
  source: string,
  output: string,
  options: ConvertOptions = {},
): Promise<Composed> {
  const metadata = await LeRobotDatasetMetadata.load(source, options);
  return compose(metadata, metadata.choose(options.episodes), output, options);
}

/**
 * Writes several datasets with the same features as one, in the order given; equal tasks become one.
 *
 * @throws CraftError as {@link composeDataset}; `TOOL_FEATURES` naming the dataset and the feature that differ.
 */
export async function mergeDatasets(
  sources: readonly string[],
  output: string,
  options: ComposeOptions = {},
): Promise<Composed> {
  const datasets: LeRobotDatasetMetadata[] = [];
  for (const source of sources) datasets.push(await LeRobotDatasetMetadata.load(source, options));
  const episodes = datasets.flatMap((metadata) =>
    metadata.choose().map((episode) => ({ metadata, episode })),
  );
  return composeDataset(episodes, output, options);
}

/** A part of a dataset: the share of the episodes, greater than 0, or their indices. */
export type SplitPart = number | readonly number[];

/**
 * Writes parts of a dataset as datasets of their own, in folders of `output` named after the parts. Shares take consecutive
 * episodes in the order of the parts, as in LeRobot's split; they must not add up to more than 1, and every part gets at least one
 * episode. Lists and shares cannot be mixed, and no episode may be in two parts.
 *
 * @throws CraftError `TOOL_SPLIT`; as {@link composeDataset}.
 */
export async function splitDataset(
  source: string,
  output: string,
  parts: Readonly<Record<string, SplitPart>>,
  options: ComposeOptions = {},
): Promise<Record<string, Composed>> {
  const metadata = await LeRobotDatasetMetadata.load(source, options);
  const chosen = chooseParts(metadata, parts);
  for (const name of Object.keys(chosen)) checkVacant(join(output, name));
  const result: Record<string, Composed> = {};
  for (const [name, episodes] of Object.entries(chosen))
    result[name] = await compose(metadata, episodes, join(output, name), options);
  return result;
}

/**
 * Writes a dataset without some episodes; the remaining ones are renumbered.
 *
 * @throws CraftError `DATASET_EPISODES` for an episode that does not exist, or when none would remain; as {@link composeDataset}.
 */
export async function deleteEpisodes(
  source: string,
  output: string,
  episodes: readonly number[],
  options: ComposeOptions = {},
): Promise<Composed> {
  const metadata = await LeRobotDatasetMetadata.load(source, options);
  const gone = new Set(metadata.choose(episodes));
  const kept = metadata.episodes.filter((episode) => !gone.has(episode));
  return compose(metadata, kept, output, options);
}

function compose(
  metadata: LeRobotDatasetMetadata,
  episodes: readonly EpisodeRecord[],
  output: string,
  options: ComposeOptions,
): Promise<Composed> {
  return composeDataset(
    episodes.map((episode) => ({ metadata, episode })),
    output,
    options,
  );
}

function chooseParts(
  metadata: LeRobotDatasetMetadata,
  parts: Readonly<Record<string, SplitPart>>,
): Record<string, EpisodeRecord[]> {
  const { root, episodes } = metadata;
  const wrong = (what: string): CraftError => new CraftError('TOOL_SPLIT', `split of ${root}: ${what}`);
  const entries = Object.entries(parts);
  if (entries.length === 0) throw wrong('there are no parts');
  for (const [name] of entries) {
    if (!/^[\w][\w.-]*$/.test(name)) throw wrong(`"${name}" cannot be the name of a folder`);
  }
  const shares = entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  if (shares.length === 0) {
    const seen = new Set<EpisodeRecord>();
    return Object.fromEntries(
      entries.map(([name, list]) => {
        const chosen = metadata.choose(list as readonly number[]);
        for (const episode of chosen) {
          if (seen.has(episode)) throw wrong(`episode ${episode.episodeIndex} is in two parts`);
          seen.add(episode);
        }
        return [name, chosen];
      }),
    );
  }
  if (shares.length < entries.length)
    throw wrong('either every part is a share or every part is a list of episodes');
  const sum = shares.reduce((total, [, share]) => total + share, 0);
  if (shares.some(([, share]) => !(share > 0)) || sum > 1 + 1e-9)
    throw wrong(
      `shares must be greater than 0 and add up to at most 1, found ${shares.map(([, s]) => s).join(' + ')}`,
    );
  let reached = 0;
  return Object.fromEntries(
    shares.map(([name, share]) => {
      const start = Math.round(reached * episodes.length);
      reached += share;
      const part = episodes.slice(start, Math.round(reached * episodes.length));
      if (part.length === 0) throw wrong(`"${name}" would get none of the ${episodes.length} episodes`);
      return [name, part];
    }),
  );
}
