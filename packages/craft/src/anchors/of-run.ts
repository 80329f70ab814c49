import { resolve } from 'node:path';
import { datasetFolder, type StrategyContext, type TrainConfig } from '@craft-ft/training';
import type { CraftConfig } from '../config.js';
import { type AnchorLoader, createAnchorDataLoader } from './loader.js';
import type { AnchorNeeds } from './needs.js';
import { type AnchorDataset, anchorChoice } from './source.js';

/** The fields that say where a run's anchors come from; the same for every method that uses anchors. */
export type AnchorFields = Pick<CraftConfig, Extract<keyof CraftConfig, `anchor_${string}`>>;

/**
 * The anchors that a method's configuration asks for, closed with the run.
 *
 * @param method the group that the fields belong to, for messages
 * @throws CraftError `ANCHOR…` when the anchors are unavailable or do not fit the run
 */
export async function anchorsOfRun(
  { config, policy, processors, keep }: StrategyContext,
  fields: AnchorFields,
  needs: AnchorNeeds,
  method: string,
): Promise<AnchorLoader> {
  const anchors = await createAnchorDataLoader({
    ...(fields.anchor_cache_dir === ''
      ? { datasets: anchorDatasets(fields, method) }
      : { cacheDir: fields.anchor_cache_dir }),
    policy,
    processors,
    batchSize: fields.anchor_batch_size,
    seed: fields.anchor_seed ?? anchorSeed(config.seed),
    select: {
      numEpisodes: fields.anchor_num_episodes,
      episodeFraction: fields.anchor_episode_fraction,
      numFrames: fields.anchor_num_frames,
      fraction: fields.anchor_fraction,
    },
    balanceTasks: fields.anchor_balance_tasks,
    needs,
    reading: {
      renameMap: config.rename_map,
      toleranceS: config.tolerance_s,
      numWorkers: config.num_workers,
      frameCache: config.dataset.frame_cache,
      imageTransforms: config.dataset.image_transforms,
    },
  });
  return keep(anchors);
}

function anchorDatasets(fields: AnchorFields, method: string): AnchorDataset[] {
  const { anchor_dataset_path: path, anchor_dataset_root: root, anchor_episodes: episodes } = fields;
  const main = { choice: anchorChoice(path, root, episodes, method) };
  if (fields.anchor_mixture === null) return [main];
  const others = fields.anchor_mixture.map((other) => ({
    choice: anchorChoice(other.repo_id, other.root, other.episodes, method),
    weight: other.weight,
  }));
  return [{ ...main, weight: 1 }, ...others];
}

// With the task's seed, the same dataset would be shuffled the same way: the anchors would be the frames being trained on.
function anchorSeed(seed: number): number {
  return seed + 2 ** 32;
}

/** Warns when the task's recordings are also the anchors, which then say nothing about an old task. */
export function sharedRecordings(
  fields: AnchorFields,
  { dataset }: Pick<TrainConfig, 'dataset'>,
  method: string,
): string[] {
  if (fields.anchor_cache_dir !== '') return [];
  const { anchor_dataset_path: path, anchor_dataset_root: root, anchor_episodes: episodes } = fields;
  const anchors = anchorChoice(path, root, episodes, method);
  if (resolve(datasetFolder(anchors)) !== resolve(datasetFolder(dataset))) return [];
  const learned = (episode: number) =>
    (dataset.episodes?.includes(episode) ?? true) && !dataset.exclude_episodes?.includes(episode);
  const both = (episodes ?? dataset.episodes)?.filter(learned) ?? null;
  if (both !== null && both.length === 0) return [];
  if (both === null && dataset.exclude_episodes !== null) return [];
  const which = both === null ? 'all episodes' : `episodes [${both}]`;
  return [
    `${which} of ${anchors.repo_id} are both learned and anchors; keep them apart with ${method}.anchor_episodes and dataset.episodes`,
  ];
}
