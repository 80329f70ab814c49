import { existsSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';
import { type DatasetFeature, imageShape } from '../dataset/dataset-info.js';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import type { EpisodeRecord } from '../dataset/metadata-formats.js';
import type { FrameTask, ImageTask, VideoTask } from './frame-decoder.js';

/** What is needed of a dataset to read its cameras; a `LeRobotDataset` or `StreamingDataset` has it. */
export interface CameraDataset {
  readonly repoId: string;
  readonly metadata: LeRobotDatasetMetadata;
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** The episodes in use. */
  readonly episodes: readonly { readonly episodeIndex: number }[];
}

/** One frame of a dataset. */
interface FramePlace {
  readonly episode: number;
  /** Within the episode. */
  readonly frame: number;
  /** Seconds since the episode's beginning. */
  readonly time: number;
}

/** A frame, and its position in a buffer of frames. */
export interface FrameWanted {
  readonly place: FramePlace;
  readonly slot: number;
}

/** A camera of a dataset: locates the image of each frame. */
export class CameraSource {
  /** Pixels of the stored frames. */
  readonly height: number;
  readonly width: number;
  readonly #datasetKey: string;
  readonly #isVideo: boolean;
  readonly #episodes: ReadonlyMap<number, EpisodeRecord>;
  /** For images: the row of each episode's first frame within its data file. */
  readonly #firstRows = new Map<number, number>();

  /**
   * @param key the camera's policy key
   * @throws CraftError `DATASET_KEY` if the feature is not a camera, `VIDEO_MISSING` (from the first batch on) if a file is missing
   */
  constructor(
    private readonly dataset: CameraDataset,
    readonly key: string,
  ) {
    const feature = dataset.features[key];
    if (feature === undefined || (feature.dtype !== 'video' && feature.dtype !== 'image')) {
      throw new CraftError('DATASET_KEY', `${dataset.repoId}: "${key}" is no camera`);
    }
    this.#datasetKey = feature.datasetKey;
    this.#isVideo = feature.dtype === 'video';
    const [, height, width] = imageShape(key, feature);
    this.height = height!;
    this.width = width!;
    this.#episodes = new Map(dataset.metadata.episodes.map((episode) => [episode.episodeIndex, episode]));
    if (!this.#isVideo) this.#locateEpisodes();
  }

  #locateEpisodes(): void {
    const { metadata } = this.dataset;
    const rows = new Map<string, number>();
    for (const episode of metadata.episodes.toSorted((a, b) => a.fromIndex - b.fromIndex)) {
      const path = metadata.dataPath(episode);
      const before = rows.get(path) ?? 0;
      this.#firstRows.set(episode.episodeIndex, before);
      rows.set(path, before + episode.length);
    }
  }

  /**
   * Checks that every video of the loaded episodes exists, rather than failing hours into training.
   *
   * @throws CraftError `VIDEO_MISSING` naming the first missing file, its episode and camera
   */
  requireFiles(): void {
    if (!this.#isVideo) return;
    for (const { episodeIndex } of this.dataset.episodes) {
      const path = this.dataset.metadata.videoPath(this.#episodes.get(episodeIndex)!, this.#datasetKey);
      if (existsSync(path)) continue;
      throw new CraftError(
        'VIDEO_MISSING',
        `${path}: the video of episode ${episodeIndex}, camera "${this.#datasetKey}", is missing; restore it, or train without ` +
          "cameras: --dataset.cameras='[]'",
      );
    }
  }

  /** The decoding tasks for these frames, ordered by file and then by time or row. */
  tasks(frames: readonly FrameWanted[]): FrameTask[] {
    return this.#isVideo ? this.#videoTasks(frames) : this.#imageTasks(frames);
  }

  #videoTasks(frames: readonly FrameWanted[]): VideoTask[] {
    const wanted = frames.map(({ place, slot }) => {
      const episode = this.#episode(place);
      const path = this.dataset.metadata.videoPath(episode, this.#datasetKey);
      return { slot, path, at: (episode.videos[this.#datasetKey]?.fromTimestamp ?? 0) + place.time };
    });
    return byFile(wanted).map(([path, group]) => ({
      kind: 'video',
      path,
      times: group.map(({ at }) => at),
      slots: group.map(({ slot }) => slot),
    }));
  }

  #imageTasks(frames: readonly FrameWanted[]): ImageTask[] {
    const wanted = frames.map(({ place, slot }) => {
      const episode = this.#episode(place);
      const name = `episode ${episode.episodeIndex}, frame ${place.frame}`;
      const at = this.#firstRows.get(episode.episodeIndex)! + place.frame;
      return { slot, name, path: this.dataset.metadata.dataPath(episode), at };
    });
    return byFile(wanted).map(([path, group]) => ({
      kind: 'image',
      path,
      column: this.#datasetKey,
      rows: group.map(({ at }) => at),
      names: group.map(({ name }) => name),
      slots: group.map(({ slot }) => slot),
    }));
  }

  #episode({ episode }: FramePlace): EpisodeRecord {
    const record = this.#episodes.get(episode);
    if (record !== undefined) return record;
    throw new CraftError('DATASET_EPISODES', `${this.dataset.repoId}: there is no episode ${episode}`);
  }
}

/** Groups by file; files are ordered by name, the entries of each by time or row. */
function byFile<T extends { path: string; at: number }>(wanted: readonly T[]): [path: string, group: T[]][] {
  const groups: [string, T[]][] = [];
  const ordered = wanted.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.at - b.at));
  for (const each of ordered) {
    const last = groups.at(-1);
    if (last?.[0] === each.path) last[1].push(each);
    else groups.push([each.path, [each]]);
  }
  return groups;
}
