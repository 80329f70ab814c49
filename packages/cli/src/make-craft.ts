import { anchorChoice, anchorNeeds, CraftStrategy, createAnchorDataLoader } from '@craft-ft/craft';
import type { StrategyContext, UpdateStrategy } from '@craft-ft/lerobot';
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

// The task's own seed would order the same dataset alike: anchors would be the very frames being trained on.
function anchorSeed(seed: number): number {
  return seed + 2 ** 32;
}
