import { ConfigError } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';
import type { ViewSource } from '@craft-ft/world';
import type { Output } from '../../command.js';

/** A dataset by its folder or, where that is null, by its name. */
export interface Recording {
  root: string | null;
  repo_id: string | null;
}

/**
 * The episodes of a dataset for the view. Without a folder of its own it is brought from the Hub, as far as it is not here: first only
 * `meta/`, then what holds the episode that is looked at.
 *
 * @param first the episode shown first
 * @throws ConfigError where there is no such episode; CraftError as `fetchDataset`, `datasetSource`
 */
export async function openRecording(
  { root, repo_id }: Recording,
  first: number,
  output: Output,
): Promise<ViewSource> {
  const { datasetFolder, fetchDataset } = await import('@craft-ft/training');
  const { datasetSource } = await import('@craft-ft/world');
  const dataset = { root, repo_id: repo_id ?? '' };
  const said = new Set<string>();
  const say = (line: string) => {
    if (!said.has(line)) output.err(`${line}\n`);
    said.add(line);
  };
  const warn = (line: string) => say(`craft: warning: ${line}`);
  const fetch = (episode: number, excluded: number[] | null, cameras?: string[]) =>
    fetchDataset({ ...dataset, episodes: [episode], exclude_episodes: excluded }, cameras, say, warn);

  const here = new Set<number>();
  let pictures = true;
  let warned = false;
  const bring = async (episode: number): Promise<void> => {
    if (here.has(episode)) return;
    await fetch(episode, null, []);
    try {
      if (pictures) await fetch(episode, null);
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      if (!warned) warn(`shown without pictures that are not here: ${error.message}`);
      warned = true;
      // The network may be back at the next look.
      if (error.code === 'HUB_UNREACHABLE') return;
      // A dataset is often copied without its videos, and need not be on the Hub.
      pictures = false;
    }
    here.add(episode);
  };

  // One episode less that one: its metadata only.
  await fetch(0, [0]);
  const source = await datasetSource(datasetFolder({ ...dataset, episodes: null, exclude_episodes: null }));
  const count = source.episodes!;
  if (first >= count) {
    throw new ConfigError([{ field: 'episode', found: first, message: `expected 0 to ${count - 1}` }]);
  }
  await bring(first);
  return {
    name: source.name,
    label: source.label,
    episodes: count,
    load: async (request, signal) => {
      await bring(request.episode);
      return source.load(request, signal);
    },
    picture: (episode, frame, camera) => source.picture!(episode, frame, camera),
    close: () => source.close(),
  };
}
