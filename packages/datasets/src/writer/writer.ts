import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CraftError, type StagedFile } from '@craft-ft/torch';
import type { VideoSegment } from '../dataset/metadata-formats.js';
import { computeStats, type DatasetStats } from '../dataset/stats.js';
import type { VideoEncoding } from '../video/encoder.js';
import { ImageTrack, VideoTrack } from './camera-tracks.js';
import { DataFiles, type EpisodeColumn, type FileSlot, type Staged } from './data-files.js';
import { EpisodeBuffer, type FrameValue, type ImageSink } from './episode-buffer.js';
import {
  bookkeepingFeatures,
  dataPath,
  featureProblem,
  MetadataFiles,
  videoPath,
  type WrittenEpisode,
  type WrittenFeature,
  writtenFeature,
} from './metadata-files.js';
import { isVisual } from './parquet-writer.js';
import { type ExistingDataset, readForAppending } from './reopen.js';

/** Options of {@link LeRobotDatasetWriter.create}. */
export interface LeRobotDatasetWriterOptions {
  /** Folder to create; must be absent or empty. */
  root: string;
  /** Frames per second. */
  fps: number;
  /**
   * Features by key, as in info.json: dtype, shape of one frame, axis names. Numpy dtypes (float32, float64, int8…int64, uint8, bool)
   * of one to five dimensions; `string` of shape [1]; `video` (encoded) and `image` (PNG, lossless, inside the data files) of
   * shape [height, width, 3].
   */
  features: Readonly<Record<string, { dtype: string; shape: readonly number[]; names?: unknown }>>;
  robotType?: string | null;
  /** How video is encoded. Default AV1, key frames 2 apart, crf 30, preset 12: LeRobot's. */
  video?: VideoEncoding;
  /** A new data file is started before the current one would exceed this size. Default 100, LeRobot's. */
  dataFilesSizeInMb?: number;
  /** A new video file is started before the current one would exceed this size. Default 200, LeRobot's. */
  videoFilesSizeInMb?: number;
  /** Files per folder. Default 1000, LeRobot's. */
  chunksSize?: number;
}

/** A frame for {@link LeRobotDatasetWriter.addFrame}: every feature's value, and the task. */
export type Frame = Readonly<Record<string, FrameValue>> & { readonly task: string };

/** What a writer is made from. */
interface Setting extends ExistingDataset {
  readonly fps: number;
  readonly encoding: VideoEncoding;
  readonly videoFilesSizeInMb: number;
  /** Whether the dataset is new rather than continued. */
  readonly isNew: boolean;
}

/**
 * Records a dataset in LeRobot v3.0 format.
 *
 * After each `saveEpisode` the folder is a complete dataset; a crash at any other moment loses only the open episode. All files of
 * an episode are first written under temporary names and then renamed, info.json last, so a full disk leaves everything saved
 * before unchanged. Data and video files are extended by copying their contents, as LeRobot does with videos: at most 100 and 200
 * MB per episode. The numbers and PNG files of the open episode are kept in memory; video frames are encoded as they arrive.
 *
 * @example
 * ```ts
 * const writer = LeRobotDatasetWriter.create({
 *   root: 'data/reach', fps: 20,
 *   features: {
 *     'observation.state': { dtype: 'float32', shape: [4] },
 *     'observation.images.top': { dtype: 'video', shape: [240, 320, 3] },
 *     action: { dtype: 'float32', shape: [2] },
 *   },
 * });
 * writer.addFrame({
 *   'observation.state': [0, 0, 1, 1], 'observation.images.top': rgb, action: [0.1, 0.1], task: 'reach the corner',
 * });
 * await writer.saveEpisode();
 * writer.finalize();
 * ```
 */
export class LeRobotDatasetWriter {
  readonly root: string;
  readonly #fps: number;
  readonly #features: Readonly<Record<string, WrittenFeature>>;
  readonly #buffer: EpisodeBuffer;
  readonly #videos = new Map<string, VideoTrack>();
  readonly #images = new Map<string, ImageTrack>();
  readonly #data: DataFiles;
  readonly #metadata: MetadataFiles;
  readonly #isNew: boolean;
  #state: 'open' | 'saving' | 'failed' | 'finalized' = 'open';

  private constructor({ dataset, totals, slots, fps, encoding, videoFilesSizeInMb, isNew }: Setting) {
    const { root, features, chunksSize } = dataset;
    this.root = root;
    this.#fps = fps;
    this.#isNew = isNew;
    this.#features = features;
    for (const [key, { dtype, shape }] of Object.entries(features)) {
      const [height, width] = shape as [number, number];
      if (dtype === 'image') this.#images.set(key, new ImageTrack(width, height));
      if (dtype !== 'video') continue;
      const first = slots.videos[key] ?? { chunk: 0, file: 0 };
      const maxBytes = videoFilesSizeInMb * 2 ** 20;
      this.#videos.set(
        key,
        new VideoTrack({ root, key, width, height, fps, encoding, videoPath, maxBytes, chunksSize, first }),
      );
    }
    const recorded = Object.entries(features).filter(([key]) => !(key in bookkeepingFeatures));
    const sinks = new Map<string, ImageSink>([...this.#videos, ...this.#images]);
    this.#buffer = new EpisodeBuffer(root, Object.fromEntries(recorded), sinks);
    const maxBytes = dataset.dataFilesSizeInMb * 2 ** 20;
    this.#data = new DataFiles({ root, dataPath, features, maxBytes, chunksSize, first: slots.data });
    this.#metadata = new MetadataFiles(dataset, totals, slots.episodes);
  }

  /**
   * Creates a dataset; nothing is written before the first episode.
   *
   * @throws CraftError `DATASET_EXISTS` when the folder is not empty, `DATASET_FEATURE` for a feature that cannot be written,
   * `DATASET_FPS`.
   */
  static create(options: LeRobotDatasetWriterOptions): LeRobotDatasetWriter {
    const { fps, video: encoding = {}, chunksSize = 1000 } = options;
    const { dataFilesSizeInMb = 100, videoFilesSizeInMb = 200 } = options;
    const root = resolve(options.root);
    if (!Number.isInteger(fps) || fps < 1) {
      throw new CraftError('DATASET_FPS', `${root}: fps must be a whole number from 1 on, not ${fps}`);
    }
    if (existsSync(root) && !(statSync(root).isDirectory() && readdirSync(root).length === 0)) {
      throw new CraftError(
        'DATASET_EXISTS',
        `${root}: already exists and is not an empty folder; choose another one or delete it (LeRobotDatasetWriter.open goes on with it)`,
      );
    }
    for (const [key, feature] of Object.entries(options.features)) {
      const problem = featureProblem(key, feature);
      if (problem !== undefined) {
        throw new CraftError('DATASET_FEATURE', `${root}: feature "${key}" ${problem}`);
      }
    }
    const given = Object.entries(options.features).map(
      ([key, feature]) => [key, writtenFeature(feature, fps, encoding)] as const,
    );
    const features = { ...Object.fromEntries(given), ...bookkeepingFeatures };
    const info = {
      codebase_version: 'v3.0',
      robot_type: options.robotType ?? null,
      total_episodes: 0,
      total_frames: 0,
      total_tasks: 0,
      chunks_size: chunksSize,
      data_files_size_in_mb: dataFilesSizeInMb,
      video_files_size_in_mb: videoFilesSizeInMb,
      fps,
      splits: {},
      data_path: dataPath,
      video_path: given.some(([, { dtype }]) => dtype === 'video') ? videoPath : null,
      features,
    };
    const first = { chunk: 0, file: 0 };
    return new LeRobotDatasetWriter({
      dataset: { root, features, chunksSize, dataFilesSizeInMb, info },
      totals: { episodes: 0, frames: 0, tasks: [], stats: undefined },
      slots: { data: first, episodes: first, videos: {} },
      fps,
      encoding,
      videoFilesSizeInMb,
      isNew: true,
    });
  }

  /**
   * Continues a v3.0 dataset with its features, file sizes and frames per second. New episodes go into new files, as in LeRobot.
   * Leftovers of a crash while saving are removed: temporary files, and rows of an episode that was not completely saved. No other
   * writer may be using the dataset.
   *
   * @param options `video`: another encoding than the one info.json names.
   * @throws CraftError as `LeRobotDatasetMetadata.load`; `DATASET_VERSION`, `DATASET_FEATURE`, `DATASET_FPS`,
   * `DATASET_PATH_INVALID` if the writer cannot continue this dataset, `DATASET_ROWS` if the last data file has extra rows that
   * cannot be separated.
   */
  static async open(root: string, options: { video?: VideoEncoding } = {}): Promise<LeRobotDatasetWriter> {
    const existing = await readForAppending(resolve(root));
    return new LeRobotDatasetWriter({
      ...existing,
      encoding: options.video ?? existing.encoding,
      isNew: false,
    });
  }

  /** Number of frames of the episode being recorded. */
  get bufferedFrames(): number {
    return this.#buffer.length;
  }

  /** Number of episodes in the dataset. */
  get savedEpisodes(): number {
    return this.#metadata.totals.episodes;
  }

  /**
   * Adds a frame to the current episode. Its timestamp is its number divided by fps. Images are copied.
   *
   * @throws CraftError `DATASET_FRAME` if a feature is missing, unknown, of the wrong width or dtype, or not finite: the episode is
   * unchanged. `DISK_FULL`, `VIDEO_WRITE`, `VIDEO_ENCODER`, `VIDEO_LIBRARY` if a video cannot be encoded: the episode is dropped.
   */
  addFrame(frame: Frame): void {
    this.#requireOpen();
    const { task, ...values } = frame;
    try {
      this.#buffer.add(values as Record<string, FrameValue>, task);
    } catch (error) {
      if (!(error instanceof CraftError && error.code === 'DATASET_FRAME')) this.#drop();
      throw error;
    }
  }

  /** Discards the frames of the current episode. */
  clearEpisode(): void {
    this.#requireOpen();
    this.#drop();
  }

  /**
   * Ends the current episode and saves it; once the promise resolves, it is safely on disk. Must be awaited if there are cameras;
   * otherwise the work is done when the call returns.
   *
   * @throws CraftError `DATASET_FRAME` (no frames); `DISK_FULL`, `WRITE_FAILED`, `VIDEO_WRITE`: the episode is lost, earlier ones
   * are unchanged, and recording can continue. `DATASET_EXISTS` if something else recorded a dataset to the folder before the first
   * episode.
   */
  async saveEpisode(): Promise<void> {
    this.#requireOpen();
    if (this.#buffer.length === 0) {
      throw new CraftError(
        'DATASET_FRAME',
        `${this.root}: an episode needs at least one frame; call addFrame first`,
      );
    }
    this.#state = 'saving';
    const staged: Staged<unknown>[] = [];
    try {
      const videos: Record<string, VideoSegment> = {};
      if (this.#videos.size > 0) {
        const tracks = [...this.#videos];
        // Wait for all of them, so that none is still writing when the others' files are removed.
        const results = await Promise.allSettled(tracks.map(([, track]) => track.stage()));
        results.forEach((result, i) => {
          if (result.status === 'rejected') return;
          staged.push(result.value);
          videos[tracks[i]![0]] = result.value.value;
        });
        for (const result of results) if (result.status === 'rejected') throw result.reason;
      }
      const images = new Map<string, EpisodeColumn>();
      for (const [key, track] of this.#images) images.set(key, await track.images());
      const tasks = [...new Set([...this.#metadata.totals.tasks, ...this.#buffer.tasks])];
      const columns = this.#columns(tasks, images);
      const data = this.#data.stage(columns, this.#buffer.length);
      staged.unshift(data);
      staged.push(this.#metadata.stage(this.#describe(columns, data.value, videos), tasks));
      if (this.#isNew && this.savedEpisodes === 0) this.#requireUnclaimed();
    } catch (error) {
      for (const part of staged) for (const file of part.files) file.discard();
      this.#drop();
      this.#state = 'open';
      throw error;
    }
    this.#commit(staged);
    this.#drop();
    this.#state = 'open';
  }

  /** Ends recording; nothing can be added afterwards. Throws CraftError `DATASET_FRAME` for frames of an unsaved episode. */
  finalize(): void {
    this.#requireOpen();
    if (this.#buffer.length > 0) {
      const frames = this.#buffer.length;
      throw new CraftError(
        'DATASET_FRAME',
        `${this.root}: ${frames} frames are not saved; call saveEpisode or clearEpisode first`,
      );
    }
    if (this.savedEpisodes === 0) {
      throw new CraftError('DATASET_FRAME', `${this.root}: a dataset needs at least one episode`);
    }
    this.#state = 'finalized';
  }

  /** The folder may have been found empty long ago: a dataset that was recorded there since is not overwritten. */
  #requireUnclaimed(): void {
    if (!existsSync(join(this.root, 'meta', 'info.json'))) return;
    throw new CraftError(
      'DATASET_EXISTS',
      `${this.root}: another dataset was recorded there meanwhile and is left as it is; choose another folder`,
    );
  }

  #requireOpen(): void {
    if (this.#state === 'open') return;
    const why = {
      saving: 'saveEpisode is still at work; await it first',
      failed: 'writing failed before; go on with LeRobotDatasetWriter.open, which repairs what is there',
      finalized: 'the dataset is finalized; go on with LeRobotDatasetWriter.open',
    }[this.#state];
    throw new CraftError('DATASET_WRITE', `${this.root}: ${why}`);
  }

  #drop(): void {
    this.#buffer.clear();
    for (const track of this.#videos.values()) track.clear();
    for (const track of this.#images.values()) track.clear();
  }

  #commit(staged: readonly Staged<unknown>[]): void {
    this.#state = 'failed';
    const files: StagedFile[] = staged.flatMap((part) => part.files);
    files.forEach((file, i) => {
      try {
        file.commit();
      } catch (error) {
        for (const rest of files.slice(i + 1)) rest.discard();
        this.#drop();
        throw error;
      }
    });
    for (const part of staged) part.accept();
  }

  /** Values of every feature of the current episode, the bookkeeping ones computed. */
  #columns(tasks: readonly string[], images: ReadonlyMap<string, EpisodeColumn>): Map<string, EpisodeColumn> {
    const { episodes, frames: first } = this.#metadata.totals;
    const rows = this.#buffer.length;
    const taskIndex = new Map(tasks.map((task, i) => [task, i]));
    const integers = (of: (frame: number) => number): BigInt64Array =>
      BigInt64Array.from({ length: rows }, (_, frame) => BigInt(of(frame)));
    const columns = new Map<string, EpisodeColumn>();
    for (const [key, { dtype }] of Object.entries(this.#features)) {
      if (dtype === 'video' || key in bookkeepingFeatures) continue;
      if (dtype === 'string') columns.set(key, this.#buffer.texts(key));
      else columns.set(key, images.get(key) ?? this.#buffer.values(key));
    }
    columns.set(
      'timestamp',
      Float32Array.from({ length: rows }, (_, frame) => frame / this.#fps),
    );
    columns.set(
      'frame_index',
      integers((frame) => frame),
    );
    columns.set(
      'episode_index',
      integers(() => episodes),
    );
    columns.set(
      'index',
      integers((frame) => first + frame),
    );
    columns.set(
      'task_index',
      integers((frame) => taskIndex.get(this.#buffer.tasks[frame]!)!),
    );
    return columns;
  }

  #describe(
    columns: ReadonlyMap<string, EpisodeColumn>,
    data: FileSlot,
    videos: Readonly<Record<string, VideoSegment>>,
  ): WrittenEpisode {
    const { episodes, frames } = this.#metadata.totals;
    const rows = this.#buffer.length;
    const stats: DatasetStats = {};
    for (const [key, { dtype, shape }] of Object.entries(this.#features)) {
      if (dtype === 'string') continue;
      stats[key] = isVisual(dtype)
        ? (this.#videos.get(key) ?? this.#images.get(key))!.stats()
        : computeStats(Float64Array.from(columns.get(key)! as ArrayLike<number>, Number), shape, rows);
    }
    return {
      index: episodes,
      length: rows,
      fromIndex: frames,
      tasks: [...new Set(this.#buffer.tasks)],
      data,
      videos,
      stats,
    };
  }
}
