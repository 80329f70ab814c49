import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { CraftError, explainWriteError, makeFolder } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { type ByteWriter, fileWriter, ParquetWriter } from 'hyparquet-writer';
import { formatPath, type OnWarning } from '../dataset/dataset-files.js';
import { type FeatureInfo, isBookkeeping } from '../dataset/dataset-info.js';
import { computeStats, type DatasetStats } from '../dataset/stats.js';
import { type FileSlot, nextSlot } from '../writer/data-files.js';
import { dataPath, type WrittenEpisode } from '../writer/metadata-files.js';
import {
  fileSchema,
  huggingfaceMetadata,
  imageColumn,
  listDepth,
  toRows,
  writeColumn,
} from '../writer/parquet-writer.js';
import { type OtherColumns, type ReadEpisode, readEpisodes, type SourceEpisode } from './source-episodes.js';

interface DataOptions {
  readonly onWarning: OnWarning;
  readonly onProgress?: (episodes: number, of: number) => void;
  readonly toleranceS: number;
  readonly dataFilesSizeInMb: number;
}

/** Writes the data files. Returns the episodes as the metadata needs them, without videos, and all tasks. */
export async function composeData(
  episodes: readonly SourceEpisode[],
  root: string,
  options: DataOptions,
): Promise<{ written: WrittenEpisode[]; tasks: string[] }> {
  const { features } = episodes[0]!.metadata;
  const writer = new DataWriter(root, features, options.dataFilesSizeInMb * 2 ** 20);
  const written: WrittenEpisode[] = [];
  const taskIndex = new Map<string, number>();
  let from = 0;
  for await (const source of readEpisodes(episodes, options.onWarning)) {
    checkTimestamps(source, options.toleranceS);
    const index = written.length;
    const { length } = source.episode;
    const numbers = renumbered(source, index, from, taskIndex);
    const data = writer.write(numbers, source.others, length);
    const stats: DatasetStats = {};
    for (const [key, values] of numbers)
      stats[key] = computeStats(
        Float64Array.from(values as ArrayLike<number>, Number),
        features[key]!.shape,
        length,
      );
    const tasks = [...new Set(source.tasks)];
    written.push({ index, length, fromIndex: from, tasks, data, videos: {}, stats });
    from += length;
    options.onProgress?.(written.length, episodes.length);
  }
  writer.finish();
  return { written, tasks: [...taskIndex.keys()] };
}

/** The episode's numeric columns, with the bookkeeping columns recomputed. Tasks are numbered in the order of appearance. */
function renumbered(
  { metadata, episode, columns, row, tasks }: ReadEpisode,
  index: number,
  from: number,
  taskIndex: Map<string, number>,
): EpisodeNumbers {
  const { length } = episode;
  const integers = (of: (frame: number) => number): BigInt64Array =>
    BigInt64Array.from({ length }, (_, frame) => BigInt(of(frame)));
  for (const task of tasks) if (!taskIndex.has(task)) taskIndex.set(task, taskIndex.size);
  const own: Record<string, () => ArrayLike<number> | BigInt64Array> = {
    timestamp: () => Float32Array.from({ length }, (_, frame) => frame / metadata.fps),
    frame_index: () => integers((frame) => frame),
    episode_index: () => integers(() => index),
    index: () => integers((frame) => from + frame),
    task_index: () => integers((frame) => taskIndex.get(tasks[frame]!)!),
  };
  return new Map(
    [...columns].map(([key, { data, width }]) => [
      key,
      isBookkeeping(key) ? own[key]!() : data.subarray(row * width, (row + length) * width),
    ]),
  );
}

/** New timestamps are frame / fps: a source with other timestamps would lose them, and is refused. */
function checkTimestamps({ metadata, episode, columns, row }: ReadEpisode, toleranceS: number): void {
  const { data } = columns.get('timestamp')!;
  for (let frame = 0; frame < episode.length; frame++) {
    const found = Number(data[row + frame]);
    const expected = frame / metadata.fps;
    if (Math.abs(found - expected) <= toleranceS) continue;
    throw new CraftError(
      'TOOL_TIMESTAMP',
      `${metadata.root}: frame ${frame} of episode ${episode.episodeIndex} is at ${found} s, expected ${expected} s at ` +
        `${metadata.fps} fps; run craft dataset doctor, and leave the episode out`,
    );
  }
}

/** Values of one episode: numbers row-major by feature. */
type EpisodeNumbers = ReadonlyMap<string, ArrayLike<number> | BigInt64Array>;

/**
 * The data files of a dataset that is written in one go, one row group per episode. Files are written under their final names as
 * they grow, since nothing reads the folder before it is complete.
 */
class DataWriter {
  readonly #root: string;
  readonly #features: readonly (readonly [string, FeatureInfo])[];
  readonly #maxBytes: number;
  #slot: FileSlot = { chunk: 0, file: 0 };
  #open: { path: string; bytes: ByteWriter; parquet: ParquetWriter } | undefined;

  /** @param features All features; videos are skipped. */
  constructor(root: string, features: Readonly<Record<string, FeatureInfo>>, maxBytes: number) {
    this.#root = root;
    this.#features = Object.entries(features).filter(([, { dtype }]) => dtype !== 'video');
    this.#maxBytes = maxBytes;
  }

  /** Writes an episode. Returns the file it is in. @throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
  write(numbers: EpisodeNumbers, others: OtherColumns, rows: number): FileSlot {
    const columnData = this.#features.map(([name, { dtype, shape }]) => {
      const own = numbers.get(name);
      if (own !== undefined) return { name, data: toRows(dtype, shape, own) };
      const data = [...others.get(name)!] as DecodedArray;
      // No two images are alike: a dictionary or min/max statistics would only take space.
      return dtype === 'image'
        ? { name, data, encoding: 'PLAIN' as const, statistics: false }
        : { name, data };
    });
    let estimate = 0;
    for (const values of numbers.values()) estimate += (values as Uint8Array).byteLength;
    for (const values of others.values())
      for (const value of values) estimate += typeof value === 'string' ? value.length : value.bytes.length;
    if (this.#open !== undefined && this.#open.bytes.offset + estimate >= this.#maxBytes) {
      this.finish();
      this.#slot = nextSlot(this.#slot, 1000);
    }
    this.#open ??= this.#begin();
    const { path, parquet } = this.#open;
    attempt(path, () => parquet.write({ columnData, rowGroupSize: rows }));
    return this.#slot;
  }

  /** Completes the open file. */
  finish(): void {
    if (this.#open === undefined) return;
    const { path, parquet } = this.#open;
    this.#open = undefined;
    attempt(path, () => {
      parquet.finish();
      const fd = openSync(path, 'r+');
      fsyncSync(fd);
      closeSync(fd);
    });
  }

  #begin(): { path: string; bytes: ByteWriter; parquet: ParquetWriter } {
    const { chunk, file } = this.#slot;
    const path = formatPath(this.#root, dataPath, { chunk_index: chunk, file_index: file });
    makeFolder(dirname(path));
    const schema = fileSchema(
      this.#features.map(([key, { dtype, shape }]) =>
        dtype === 'image' ? imageColumn(key) : writeColumn(key, dtype, listDepth(shape)),
      ),
    );
    const described = huggingfaceMetadata(Object.fromEntries(this.#features));
    return attempt(path, () => {
      const bytes = fileWriter(path) as ByteWriter;
      const parquet = new ParquetWriter({
        writer: bytes,
        schema,
        kvMetadata: [{ key: 'huggingface', value: described }],
      });
      return { path, bytes, parquet };
    });
  }
}

function attempt<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw explainWriteError(error, path);
  }
}
