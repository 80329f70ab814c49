import { CraftError } from '@craft-ft/torch';
import { type Batch, type BatchColumn, collate, gather, gatherWindows, type Pick } from './batch.js';
import { type Column, readColumns, verifyColumns } from './columns.js';
import { LeRobotDataset, type LeRobotDatasetOptions } from './dataset.js';
import { type DatasetFeature, isBookkeeping } from './dataset-info.js';
import { absoluteIndex, type EpisodeSpan, spanOfRow, subsetIndex } from './indices.js';
import { LeRobotDatasetMetadata } from './metadata.js';
import type { EpisodeRecord } from './metadata-formats.js';
import type { DatasetStats } from './stats.js';
import { type StreamedFrame, StreamOrder } from './stream-order.js';

/** Options of {@link StreamingDataset.open}: those of LeRobotDataset, and the shuffling. */
export interface StreamingDatasetOptions extends LeRobotDatasetOptions {
  /** Any whole number. */
  seed: number;
  /** Default true; otherwise frames come in the dataset's order. */
  shuffle?: boolean;
  /** Frames to draw from, each with its window. Default 1000, LeRobot's. */
  bufferSize?: number;
  /** Data files that are open at a time, interleaved. Default 4. */
  openFiles?: number;
}

/** The decoded rows of one data file. */
interface FileRows {
  /** By dataset key. */
  readonly columns: ReadonlyMap<string, Column>;
  readonly episodes: readonly EpisodeSpan[];
}

/**
 * A dataset read file by file through a shuffle buffer: memory holds `openFiles` decoded data files and `bufferSize` frames,
 * however large the dataset is. Numeric features, v2.0, v2.1 and v3.0; windows end at the ends of the frame's episode.
 *
 * The order depends only on the seed, the options and the episodes' lengths; every epoch contains every frame once. It is less
 * random than that of a loaded dataset: consecutive frames come from few files. Resuming is exact: `batches(size, step)` counts the
 * order forward to that step without reading, then reads the files of the frames in the buffer, so a stream started at step n gives
 * the same batches as one that has reached it.
 *
 * @example
 * ```ts
 * const stream = await StreamingDataset.open({ root: 'data/large', seed: 1000 });
 * for await (const batch of stream.batches(8)) {
 *   batch.columns.action.shape; // [8, 6]
 * }
 * ```
 */
export class StreamingDataset {
  readonly metadata: LeRobotDatasetMetadata;
  readonly repoId: string;
  /** Frames of one epoch. */
  readonly length: number;
  /** Every feature of the dataset, by policy key. */
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** Statistics over the chosen episodes, by policy key. */
  readonly stats: Readonly<DatasetStats>;
  readonly #options: StreamingDatasetOptions;
  readonly #files: readonly (readonly EpisodeRecord[])[];
  /** Dataset key by policy key, for the loaded columns. */
  readonly #keys: ReadonlyMap<string, string>;
  readonly #offsets: ReadonlyMap<string, Int32Array>;
  #warned = false;

  private constructor(
    options: StreamingDatasetOptions,
    metadata: LeRobotDatasetMetadata,
    files: EpisodeRecord[][],
    sample: LeRobotDataset,
    stats: DatasetStats,
  ) {
    this.#options = options;
    this.metadata = metadata;
    this.repoId = sample.repoId;
    this.features = sample.features;
    this.#files = files;
    this.#keys = new Map([...sample.columns.keys()].map((key) => [key, sample.features[key]!.datasetKey]));
    this.#offsets = sample.deltaOffsets;
    const renamed = Object.entries(sample.features).flatMap(([key, { datasetKey }]) =>
      stats[datasetKey] === undefined ? [] : [[key, stats[datasetKey]] as const],
    );
    this.stats = Object.fromEntries(renamed);
    this.length = files.flat().reduce((sum, { length }) => sum + length, 0);
    // Reports wrong options here rather than at the first batch.
    this.#order();
  }

  /**
   * Reads the metadata and, to check keys and windows, one episode.
   *
   * @throws CraftError as {@link LeRobotDataset.open}; `STREAM_OPTION`, `SAMPLER_SEED`.
   */
  static async open(options: StreamingDatasetOptions): Promise<StreamingDataset> {
    const metadata = await LeRobotDatasetMetadata.load(options.root, options);
    const chosen = metadata.choose(options.episodes);
    const files = new Map<string, EpisodeRecord[]>();
    for (const episode of chosen) {
      const path = metadata.dataPath(episode);
      files.set(path, [...(files.get(path) ?? []), episode]);
    }
    const episodes = [chosen[0]!.episodeIndex];
    const sample = await LeRobotDataset.open({ ...options, episodes, onWarning: () => {} });
    const stats = await metadata.stats(options.episodes);
    return new StreamingDataset(options, metadata, [...files.values()], sample, stats);
  }

  /** The chosen episodes. */
  get episodes(): readonly EpisodeRecord[] {
    return this.#files.flat();
  }

  /** Frames per second. */
  get fps(): number {
    return this.metadata.fps;
  }

  /**
   * Endless batches from step `firstStep` (from 0) on, each of `batchSize` frames; shapes as those of {@link LeRobotDataset.batch}.
   *
   * @throws CraftError `DATASET_…` when a file is missing or wrong, naming it; `SAMPLER_STEP`, `SAMPLER_BATCH_SIZE`.
   */
  async *batches(batchSize: number, firstStep = 0): AsyncGenerator<Batch, never> {
    if (!Number.isSafeInteger(batchSize) || batchSize < 1)
      throw new CraftError(
        'SAMPLER_BATCH_SIZE',
        `batch_size must be a whole number from 1 on, not ${batchSize}`,
      );
    if (!Number.isSafeInteger(firstStep) || firstStep < 0)
      throw new CraftError('SAMPLER_STEP', `the step must be a whole number from 0 on, not ${firstStep}`);
    const order = this.#order();
    const buffer = new FrameBuffer(
      (file) => this.#read(file),
      (rows, frames) => this.#gather(rows, frames),
    );
    order.seek(firstStep * batchSize);
    for (const file of new Set(order.buffered.map((frame) => frame.file))) {
      await buffer.add(order.buffered.filter((frame) => frame.file === file));
      if (!order.isOpen(file)) buffer.close(file);
    }
    for (;;) {
      const frames: { batch: Batch; row: number }[] = [];
      while (frames.length < batchSize) {
        const { frame, entered, finished } = order.next();
        await buffer.add(entered);
        for (const file of finished) buffer.close(file);
        frames.push(buffer.take(frame));
      }
      const parts = [...new Set(frames.map(({ batch }) => batch))];
      yield collate(
        parts,
        frames.map(({ batch, row }): Pick => ({ part: parts.indexOf(batch), row })),
      );
    }
  }

  #order(): StreamOrder {
    const { seed, shuffle = true, bufferSize = 1000, openFiles = 4 } = this.#options;
    const rows = this.#files.map((episodes) => episodes.reduce((sum, { length }) => sum + length, 0));
    return new StreamOrder(rows, { seed, shuffle, bufferSize, openFiles });
  }

  async #read(file: number): Promise<FileRows> {
    const episodes = this.#files[file]!;
    const columns = await readColumns(this.metadata, episodes, [...this.#keys.values()]);
    const warn = this.#options.onWarning ?? console.warn;
    verifyColumns(this.metadata, episodes, columns, (message) => {
      // Every file would give the same warning.
      if (!this.#warned) warn(message);
      this.#warned = true;
    });
    let start = 0;
    const spans = episodes.map(({ episodeIndex, fromIndex, length }): EpisodeSpan => {
      const span = {
        episodeIndex,
        start: subsetIndex(start),
        end: start + length,
        absoluteStart: absoluteIndex(fromIndex),
      };
      start = span.end;
      return span;
    });
    return { columns, episodes: spans };
  }

  #gather({ columns: read, episodes }: FileRows, frames: readonly StreamedFrame[]): Batch {
    const rows = frames.map(({ row }) => subsetIndex(row));
    const columns: Record<string, BatchColumn> = {};
    for (const [key, datasetKey] of this.#keys) {
      const column = read.get(datasetKey)!;
      const shape = isBookkeeping(key) ? [] : column.shape;
      const offsets = this.#offsets.get(key);
      if (offsets === undefined) {
        columns[key] = gather(column, shape, rows);
        continue;
      }
      const spans = rows.map((row) => spanOfRow(episodes, row)!);
      const { values, isPad } = gatherWindows(column, shape, rows, spans, offsets);
      columns[key] = values;
      columns[`${key}_is_pad`] = isPad;
    }
    const taskIndex = columns.task_index!.data as ArrayLike<number | bigint>;
    const tasks = Array.from(taskIndex, (index) => this.metadata.tasks.get(Number(index)) ?? '');
    return { columns, tasks };
  }
}

/** The frames that have entered the buffer and not left it, and the files they come from. */
class FrameBuffer {
  readonly #files = new Map<number, FileRows>();
  readonly #frames = new Map<string, { batch: Batch; row: number }>();

  constructor(
    private readonly read: (file: number) => Promise<FileRows>,
    private readonly gather: (rows: FileRows, frames: readonly StreamedFrame[]) => Batch,
  ) {}

  async add(frames: readonly StreamedFrame[]): Promise<void> {
    for (const file of new Set(frames.map((frame) => frame.file))) {
      const own = frames.filter((frame) => frame.file === file);
      let rows = this.#files.get(file);
      if (rows === undefined) {
        rows = await this.read(file);
        this.#files.set(file, rows);
      }
      const batch = this.gather(rows, own);
      for (const [row, frame] of own.entries()) this.#frames.set(keyOf(frame), { batch, row });
    }
  }

  close(file: number): void {
    this.#files.delete(file);
  }

  take(frame: StreamedFrame): { batch: Batch; row: number } {
    const key = keyOf(frame);
    const found = this.#frames.get(key)!;
    this.#frames.delete(key);
    return found;
  }
}

function keyOf({ file, row }: StreamedFrame): string {
  return `${file}/${row}`;
}
