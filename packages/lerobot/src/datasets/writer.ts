import { existsSync, readdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { type ByteWriter, fileWriter, ParquetWriter } from 'hyparquet-writer';
import { guard, makeFolderOf, publish, temporaryPath } from './atomic.js';
import { computeStats } from './compute-stats.js';
import { EpisodeBuffer, type FrameValue } from './episode-buffer.js';
import { formatPath } from './files.js';
import { isBookkeeping } from './info.js';
import {
  fileSchema,
  huggingfaceMetadata,
  isWritable,
  listDepth,
  toRows,
  writeColumn,
} from './parquet-schema.js';
import type { DatasetStats } from './stats.js';
import {
  bookkeepingFeatures,
  dataPath,
  type WrittenDataset,
  type WrittenEpisode,
  type WrittenFeature,
  writeMetadata,
} from './write-metadata.js';

/** Options of {@link LeRobotDatasetWriter.create}. */
export interface LeRobotDatasetWriterOptions {
  /** Folder to create; must be absent or empty. */
  root: string;
  /** Frames per second. */
  fps: number;
  /** Numeric features by key: numpy dtype (float32, float64, int8…int64, uint8, bool), shape of one frame, axis names. */
  features: Readonly<Record<string, { dtype: string; shape: readonly number[]; names?: unknown }>>;
  robotType?: string | null;
  /** A new data file is begun before this size would be passed. Default 100, LeRobot's. */
  dataFilesSizeInMb?: number;
  /** Files per folder. Default 1000, LeRobot's. */
  chunksSize?: number;
}

/** A frame for {@link LeRobotDatasetWriter.addFrame}: every feature's value, and the task. */
export type Frame = Readonly<Record<string, FrameValue | string>> & { readonly task: string };

/**
 * Writes a dataset in LeRobot v3.0 format, numeric features only, one row group per episode.
 *
 * Every file appears under its name only when complete, info.json last: until `finalize` returns the folder is no dataset.
 * Frames of an episode are held in memory until `saveEpisode`.
 *
 * @example
 * ```ts
 * const writer = LeRobotDatasetWriter.create({
 *   root: 'data/reach', fps: 20,
 *   features: { 'observation.state': { dtype: 'float32', shape: [4] }, action: { dtype: 'float32', shape: [2] } },
 * });
 * writer.addFrame({ 'observation.state': [0, 0, 1, 1], action: [0.1, 0.1], task: 'reach the corner' });
 * writer.saveEpisode();
 * writer.finalize();
 * ```
 */
export class LeRobotDatasetWriter {
  readonly root: string;
  readonly #dataset: WrittenDataset;
  readonly #buffer: EpisodeBuffer;
  readonly #maxBytes: number;
  #file: { path: string; bytes: ByteWriter; parquet: ParquetWriter } | undefined;
  #chunkIndex = 0;
  #fileIndex = 0;
  #state: 'open' | 'failed' | 'finalized' = 'open';

  private constructor(options: LeRobotDatasetWriterOptions, features: Record<string, WrittenFeature>) {
    this.root = resolve(options.root);
    this.#dataset = {
      root: this.root,
      fps: options.fps,
      robotType: options.robotType ?? null,
      features: { ...features, ...bookkeepingFeatures },
      chunksSize: options.chunksSize ?? 1000,
      dataFilesSizeInMb: options.dataFilesSizeInMb ?? 100,
      tasks: [],
      episodes: [],
    };
    this.#maxBytes = this.#dataset.dataFilesSizeInMb * 2 ** 20;
    this.#buffer = new EpisodeBuffer(this.root, features);
  }

  /**
   * @throws CraftError `DATASET_EXISTS` when the folder is not empty, `DATASET_FEATURE` for a feature that cannot be written,
   * `DATASET_FPS`.
   */
  static create(options: LeRobotDatasetWriterOptions): LeRobotDatasetWriter {
    const { root, fps } = options;
    if (!Number.isInteger(fps) || fps < 1) {
      throw new CraftError('DATASET_FPS', `${root}: fps must be a whole number from 1 on, not ${fps}`);
    }
    if (existsSync(root) && !(statSync(root).isDirectory() && readdirSync(root).length === 0)) {
      throw new CraftError(
        'DATASET_EXISTS',
        `${root}: already exists and is not an empty folder; choose another one or delete it`,
      );
    }
    const features = Object.entries(options.features).map(([key, { dtype, shape, names }]) => {
      const problem = featureProblem(key, dtype, shape);
      if (problem === undefined) return [key, { dtype, shape: [...shape], names: names ?? null }] as const;
      throw new CraftError('DATASET_FEATURE', `${root}: feature "${key}" ${problem}`);
    });
    return new LeRobotDatasetWriter(options, Object.fromEntries(features));
  }

  /** Number of frames of the episode being recorded. */
  get bufferedFrames(): number {
    return this.#buffer.length;
  }

  /** Number of episodes saved. */
  get savedEpisodes(): number {
    return this.#dataset.episodes.length;
  }

  /**
   * Adds a frame to the current episode. Its timestamp is its number divided by fps.
   *
   * @throws CraftError `DATASET_FRAME` when a feature is missing, unknown, of the wrong width or dtype, or not finite.
   */
  addFrame(frame: Frame): void {
    this.#requireOpen();
    const { task, ...values } = frame;
    this.#buffer.add(values as Record<string, FrameValue>, task);
  }

  /** Forgets the frames of the current episode. */
  clearEpisode(): void {
    this.#buffer.clear();
  }

  /** Ends the current episode and writes its frames. Throws CraftError `DATASET_FRAME` (no frames), `DATASET_WRITE`. */
  saveEpisode(): void {
    this.#requireOpen();
    if (this.#buffer.length === 0) {
      throw new CraftError(
        'DATASET_FRAME',
        `${this.root}: an episode needs at least one frame; call addFrame first`,
      );
    }
    this.#state = 'failed';
    const columns = this.#episodeColumns();
    this.#beginFileIfFull(columns);
    this.#writeRows(columns);
    this.#dataset.episodes.push(this.#describe(columns));
    this.#buffer.clear();
    this.#state = 'open';
  }

  /** Writes the metadata; nothing can be added afterwards. Frames of an unsaved episode are an error. Throws CraftError `DATASET_WRITE`. */
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
    this.#state = 'failed';
    this.#endFile();
    writeMetadata(this.#dataset);
    this.#state = 'finalized';
  }

  #requireOpen(): void {
    if (this.#state === 'open') return;
    const why = this.#state === 'finalized' ? 'the dataset is finalized' : 'writing failed before';
    throw new CraftError('DATASET_WRITE', `${this.root}: ${why}; record into another folder`);
  }

  /** Values of every feature of the current episode, the bookkeeping ones computed. */
  #episodeColumns(): Map<string, ArrayLike<number> | BigInt64Array> {
    const { fps, tasks, features, episodes } = this.#dataset;
    const rows = this.#buffer.length;
    const first = nextIndex(episodes);
    const computed: Record<string, (frame: number) => number> = {
      timestamp: (frame) => frame / fps,
      frame_index: (frame) => frame,
      episode_index: () => episodes.length,
      index: (frame) => first + frame,
      task_index: (frame) => tasks.indexOf(this.#buffer.tasks[frame]!),
    };
    for (const task of this.#buffer.tasks) if (!tasks.includes(task)) tasks.push(task);
    return new Map(
      Object.keys(features).map((key) => {
        const compute = computed[key];
        if (compute === undefined) return [key, this.#buffer.values(key)];
        const values = Float64Array.from({ length: rows }, (_, frame) => compute(frame));
        return [
          key,
          key === 'timestamp' ? Float32Array.from(values) : BigInt64Array.from(Array.from(values, BigInt)),
        ];
      }),
    );
  }

  #beginFileIfFull(columns: ReadonlyMap<string, ArrayLike<number> | BigInt64Array>): void {
    const estimate = [...columns.values()].reduce(
      (sum, values) => sum + (values as Uint8Array).byteLength,
      0,
    );
    if (this.#file !== undefined && this.#file.bytes.offset + estimate >= this.#maxBytes) {
      this.#endFile();
      this.#fileIndex++;
      if (this.#fileIndex === this.#dataset.chunksSize) {
        this.#fileIndex = 0;
        this.#chunkIndex++;
      }
    }
    if (this.#file !== undefined) return;
    const path = formatPath(this.root, dataPath, {
      chunk_index: this.#chunkIndex,
      file_index: this.#fileIndex,
    });
    makeFolderOf(path);
    const { features } = this.#dataset;
    this.#file = guard(path, () => {
      const bytes = fileWriter(temporaryPath(path)) as ByteWriter;
      const schema = fileSchema(
        Object.entries(features).map(([key, { dtype, shape }]) => writeColumn(key, dtype, listDepth(shape))),
      );
      const kvMetadata = [{ key: 'huggingface', value: huggingfaceMetadata(features) }];
      return { path, bytes, parquet: new ParquetWriter({ writer: bytes, schema, kvMetadata }) };
    });
  }

  #writeRows(columns: ReadonlyMap<string, ArrayLike<number> | BigInt64Array>): void {
    const file = this.#file!;
    const { features } = this.#dataset;
    const entries = Object.entries(features);
    const values = entries.map(([key, { dtype, shape }]) => toRows(dtype, shape, columns.get(key)!));
    guard(file.path, () =>
      file.parquet.write({
        columnData: entries.map(([name], i) => ({ name, data: values[i]! })),
        rowGroupSize: this.#buffer.length,
      }),
    );
  }

  #endFile(): void {
    const file = this.#file!;
    guard(file.path, () => file.parquet.finish());
    publish(file.path);
    this.#file = undefined;
  }

  #describe(columns: ReadonlyMap<string, ArrayLike<number> | BigInt64Array>): WrittenEpisode {
    const { features, episodes } = this.#dataset;
    const rows = this.#buffer.length;
    const stats: DatasetStats = Object.fromEntries(
      Object.entries(features).map(([key, { shape }]) => [
        key,
        computeStats(Float64Array.from(columns.get(key)! as ArrayLike<number>, Number), shape, rows),
      ]),
    );
    return {
      length: rows,
      fromIndex: nextIndex(episodes),
      tasks: [...new Set(this.#buffer.tasks)],
      chunkIndex: this.#chunkIndex,
      fileIndex: this.#fileIndex,
      stats,
    };
  }
}

function nextIndex(episodes: readonly WrittenEpisode[]): number {
  const last = episodes.at(-1);
  return last === undefined ? 0 : last.fromIndex + last.length;
}

function featureProblem(key: string, dtype: string, shape: readonly number[]): string | undefined {
  if (isBookkeeping(key) || key === 'task') return 'is written by the writer itself; leave it out';
  // LeRobot forbids slashes too: they separate the parts of column names in meta/episodes.
  if (key === '' || key.includes('/')) return 'must have a name without "/"';
  if (!isWritable(dtype)) return `has dtype "${dtype}"; numeric dtypes and bool are written`;
  const sizes = shape.every((size) => Number.isInteger(size) && size > 0);
  if (shape.length < 1 || shape.length > 5 || !sizes)
    return `has shape [${shape.join(', ')}]; one to five sizes from 1 on are written`;
  return undefined;
}
