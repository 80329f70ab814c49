import { resolve } from 'node:path';
import { anchorChoice, anchorNeeds, CraftStrategy, createAnchorDataLoader } from '@craft-ft/craft';
import { datasetFolder, type StrategyContext, type UpdateStrategy } from '@craft-ft/training';
import type { CraftTrainConfig } from './train-config.js';

/**
 * CRaFT as the configuration asks for it, with its anchors.
 *
 * @throws CraftError `ANCHOR…` where the anchors are not to be had or do not fit the run
 */
export async function makeCraft(
  context: StrategyContext,
  { craft, seed }: CraftTrainConfig,
): Promise<UpdateStrategy> {
  const { config, policy, processors } = context;
  const anchors = await createAnchorDataLoader({
    ...anchorSource(craft),
    policy,
    processors,
    batchSize: craft.anchor_batch_size,
    seed: craft.anchor_seed ?? anchorSeed(seed),
    select: {
      numEpisodes: craft.anchor_num_episodes,
      episodeFraction: craft.anchor_episode_fraction,
      numFrames: craft.anchor_num_frames,
      fraction: craft.anchor_fraction,
    },
    balanceTasks: craft.anchor_balance_tasks,
    needs: anchorNeeds(craft),
    reading: {
      renameMap: config.rename_map,
      toleranceS: config.tolerance_s,
      numWorkers: config.num_workers,
      frameCache: config.dataset.frame_cache,
      imageTransforms: config.dataset.image_transforms,
    },
  });
  context.keep(anchors);
  return new CraftStrategy({
    ...context,
    anchors,
    config: craft,
    steps: config.steps,
    accumulation: config.gradient_accumulation_steps,
  });
}

function anchorSource(craft: CraftTrainConfig['craft']) {
  if (craft.anchor_cache_dir !== '') return { cacheDir: craft.anchor_cache_dir };
  const { anchor_dataset_path: path, anchor_dataset_root: root, anchor_episodes: episodes } = craft;
  const main = { choice: anchorChoice(path, root, episodes) };
  if (craft.anchor_mixture === null) return { datasets: [main] };
  const others = craft.anchor_mixture.map((other) => ({
    choice: anchorChoice(other.repo_id, other.root, other.episodes),
    weight: other.weight,
  }));
  return { datasets: [{ ...main, weight: 1 }, ...others] };
}

/** A warning where the task is learned from recordings that are anchors too: they then say nothing about an old task; null elsewhere. */
export function sharedRecordings({ craft, dataset }: CraftTrainConfig): string | null {
  if (!craft.enabled || craft.anchor_cache_dir !== '') return null;
  const anchors = anchorChoice(craft.anchor_dataset_path, craft.anchor_dataset_root, craft.anchor_episodes);
  if (resolve(datasetFolder(anchors)) !== resolve(datasetFolder(dataset))) return null;
  const learned = (episode: number) =>
    (dataset.episodes?.includes(episode) ?? true) && !dataset.exclude_episodes?.includes(episode);
  const own = craft.anchor_episodes ?? dataset.episodes;
  const both = own?.filter(learned) ?? null;
  if (both !== null && both.length === 0) return null;
  if (both === null && dataset.exclude_episodes !== null) return null;
  const which = both === null ? 'all episodes' : `episodes [${both}]`;
  return `${which} of ${anchors.repo_id} are both learned and anchors; keep them apart with craft.anchor_episodes and dataset.episodes`;
}

// The task's own seed would order the same dataset alike: anchors would be the very frames being trained on.
function anchorSeed(seed: number): number {
  return seed + 2 ** 32;
}
