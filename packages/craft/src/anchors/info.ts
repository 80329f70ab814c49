import { statSync } from 'node:fs';
import { join } from 'node:path';
import { AnchorCacheDataset } from './cache.js';
import type { AnchorCacheMetadata } from './metadata.js';

/** What `craft anchors info` says about a cache. */
export interface AnchorCacheInfo {
  dir: string;
  /** Of all shards. */
  bytes: number;
  samples: number;
  kinds: AnchorCacheMetadata['kinds'];
  preprocessed: boolean;
  dtype: string;
  teacher: AnchorCacheMetadata['teacher'];
  selection: AnchorCacheMetadata['selection'];
  /** Samples of each task. */
  tasks: Record<string, number>;
  /** How much of each dataset is covered; counts are null where the cache does not know. */
  datasets: {
    repo_id: string;
    revision: string | null;
    samples: number | null;
    frames: number | null;
    episodes: number | null;
    episodes_covered: number | null;
  }[];
  hidden: AnchorCacheMetadata['hidden'];
  feature: AnchorCacheMetadata['feature'];
  action: AnchorCacheMetadata['action'];
  tokens: AnchorCacheMetadata['tokens'];
  images: AnchorCacheMetadata['images'];
  tensors: AnchorCacheMetadata['tensors'];
  seed: number | null;
  versions: Record<string, string>;
  notes: string[];
  /** Shards whose content is not what was written; null where that was not looked at. */
  damaged: string[] | null;
}

/**
 * Describes an anchor cache.
 *
 * @param options.verify read everything and compare it with the hashes in the metadata. Default false
 * @throws CraftError as `AnchorCacheDataset.open`
 */
export function anchorCacheInfo(dir: string, options: { verify?: boolean } = {}): AnchorCacheInfo {
  using cache = AnchorCacheDataset.open(dir);
  const { metadata } = cache;
  const tasks = Object.fromEntries(metadata.tasks.map((task) => [task, 0]));
  for (const index of metadata.task_index) tasks[metadata.tasks[index]!]!++;
  const { kinds, preprocessed, dtype, teacher, selection, hidden, feature, action, tokens } = metadata;
  return {
    dir,
    bytes: metadata.shards.reduce((sum, { file }) => sum + statSync(join(dir, file)).size, 0),
    samples: metadata.num_samples,
    ...{ kinds, preprocessed, dtype, teacher, selection, tasks },
    datasets: metadata.datasets.map(({ repo_id, revision, frames, episodes }, i) => ({
      ...{ repo_id, revision, frames, episodes },
      ...covered(metadata, i),
    })),
    ...{ hidden, feature, action, tokens },
    images: metadata.images,
    tensors: metadata.tensors,
    seed: metadata.seed,
    versions: metadata.versions,
    notes: metadata.notes,
    damaged: options.verify === true ? cache.verify() : null,
  };
}

function covered(
  { frames }: AnchorCacheMetadata,
  dataset: number,
): { samples: number | null; episodes_covered: number | null } {
  if (frames === null) return { samples: null, episodes_covered: null };
  const rows = [...frames.dataset.keys()].filter((row) => frames.dataset[row] === dataset);
  return { samples: rows.length, episodes_covered: new Set(rows.map((row) => frames.episode[row])).size };
}
