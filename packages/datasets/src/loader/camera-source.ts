import { existsSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { DatasetFeature } from '../dataset/dataset.js';
import { missingFile, readIfPresent } from '../dataset/files.js';
import { imageShape } from '../dataset/info.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../dataset/metadata.js';
import type { FrameTask, VideoTask } from './frame-task.js';

/** Parquet files with images that are kept in memory. */
const OPEN_FILES = 2;

/** What of a dataset its cameras need; a `LeRobotDataset` or `StreamingDataset` has it. */
export interface CameraDataset {
  readonly repoId: string;
  readonly metadata: LeRobotDatasetMetadata;
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** The episodes in use. */
  readonly episodes: readonly { readonly episodeIndex: number }[];
}

/** One frame of a dataset. */
export interface FramePlace {
  readonly episode: number;
  /** Within the episode. */
  readonly frame: number;
  /** Seconds since the episode's beginning. */
  readonly time: number;
}

/** A place, and where its picture goes in a buffer of frames. */
export interface FrameWanted {
  readonly place: FramePlace;
  readonly slot: number;
}

/** A camera of a dataset: where each frame's image is. */
export class CameraSource {
  /** Pixels of the stored frames. */
  readonly height: number;
  readonly width: number;
  readonly #datasetKey: string;
  readonly #isVideo: boolean;
  readonly #episodes: ReadonlyMap<number, EpisodeRecord>;
  readonly #files = new Map<string, Promise<ArrayBuffer>>();

  /**
   * @param key the camera's policy key
   * @throws CraftError `DATASET_KEY` where the feature is no camera, `VIDEO_MISSING` (from the first batch on) where a file is
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
  }

  /**
   * Looks whether every video of the loaded episodes is there, before hours of training find out.
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

  /** What has to be decoded for these frames. Tasks are in the order of files and times. */
  async tasks(frames: readonly FrameWanted[]): Promise<FrameTask[]> {
    if (!this.#isVideo) return Promise.all(frames.map((frame) => this.#still(frame)));
    const wanted = frames.map(({ place, slot }) => {
      const episode = this.#episode(place);
      const path = this.dataset.metadata.videoPath(episode, this.#datasetKey);
      return { slot, path, time: (episode.videos[this.#datasetKey]?.fromTimestamp ?? 0) + place.time };
    });
    wanted.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.time - b.time));
    const tasks: VideoTask[] = [];
    for (const { path, time, slot } of wanted) {
      const last = tasks.at(-1);
      if (last?.path === path) {
        last.times.push(time);
        last.slots.push(slot);
      } else {
        tasks.push({ kind: 'video', path, times: [time], slots: [slot] });
      }
    }
    return tasks;
  }

  async #still({ place, slot }: FrameWanted): Promise<FrameTask> {
    const episode = this.#episode(place);
    const { frame } = place;
    const { metadata } = this.dataset;
    const path = metadata.dataPath(episode);
    // The row within the file: frames of the file's earlier episodes come first.
    const before = metadata.episodes
      .filter((other) => metadata.dataPath(other) === path && other.fromIndex < episode.fromIndex)
      .reduce((sum, other) => sum + other.length, 0);
    const at = before + frame;
    const where = `${path}: "${this.#datasetKey}", episode ${episode.episodeIndex}, frame ${frame}`;
    const rows = await parquetReadObjects({
      file: await this.#file(path),
      columns: [this.#datasetKey],
      rowStart: at,
      rowEnd: at + 1,
      compressors,
      utf8: false,
    });
    const bytes = (rows[0]?.[this.#datasetKey] as { bytes?: Uint8Array } | undefined)?.bytes;
    if (!(bytes instanceof Uint8Array)) {
      throw new CraftError('IMAGE_INVALID', `${where}: no image bytes; record or convert the dataset again`);
    }
    // A copy: the bytes lie in a page of the file, all of which would be sent to the worker.
    return { kind: 'image', where, bytes: bytes.slice(), slot };
  }

  #file(path: string): Promise<ArrayBuffer> {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const read = Promise.resolve(readIfPresent(path)).then((content) => {
      if (content === undefined) throw missingFile(path, 'restore it or choose other episodes');
      return content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength) as ArrayBuffer;
    });
    if (this.#files.size >= OPEN_FILES) this.#files.delete(this.#files.keys().next().value!);
    this.#files.set(path, read);
    return read;
  }

  #episode({ episode }: FramePlace): EpisodeRecord {
    const record = this.#episodes.get(episode);
    if (record !== undefined) return record;
    throw new CraftError('DATASET_EPISODES', `${this.dataset.repoId}: there is no episode ${episode}`);
  }
}
