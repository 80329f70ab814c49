import { relative, sep } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';

/** What of a dataset to fetch. */
export interface DatasetParts {
  /** Episodes by their index. Default: all. */
  episodes?: readonly number[];
  /** Episodes to leave out of those. Default: none. */
  excludeEpisodes?: readonly number[];
  /** Video features, by their full names. Default: all; `[]` for training without cameras. */
  cameras?: readonly string[];
}

/** Paths within the dataset, with `/`, each once. */
export interface NeededFiles {
  readonly data: readonly string[];
  readonly videos: readonly string[];
}

/**
 * The data and video files that hold the chosen episodes.
 *
 * @throws CraftError `DATASET_EPISODES`, `DATASET_KEY` for a camera that the dataset has not, `DATASET_PATH_INVALID`
 */
export function neededFiles(metadata: LeRobotDatasetMetadata, parts: DatasetParts): NeededFiles {
  const { cameras, excludeEpisodes = [] } = parts;
  const images = Object.entries(metadata.features).filter(([, { dtype }]) => /^(video|image)$/.test(dtype));
  const unknown = cameras?.find((camera) => !images.some(([key]) => key === camera));
  if (unknown !== undefined) {
    const known = images.map(([key]) => key).join(', ') || 'none';
    throw new CraftError('DATASET_KEY', `${metadata.root}: no camera "${unknown}"; the dataset has ${known}`);
  }
  const data = new Set<string>();
  const videos = new Set<string>();
  const inside = (path: string): string => relative(metadata.root, path).split(sep).join('/');
  for (const episode of metadata.choose(parts.episodes)) {
    if (excludeEpisodes.includes(episode.episodeIndex)) continue;
    data.add(inside(metadata.dataPath(episode)));
    if (metadata.info.videoPath === null) continue;
    for (const key of Object.keys(episode.videos)) {
      if (cameras === undefined || cameras.includes(key)) {
        videos.add(inside(metadata.videoPath(episode, key)));
      }
    }
  }
  return { data: [...data], videos: [...videos] };
}
