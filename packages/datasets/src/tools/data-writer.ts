import { closeSync, fsyncSync, openSync } from 'node:fs';
import { explainWriteError } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { type ByteWriter, fileWriter, ParquetWriter } from 'hyparquet-writer';
import { formatPath } from '../dataset/files.js';
import type { FeatureInfo } from '../dataset/info.js';
import {
  fileSchema,
  huggingfaceMetadata,
  imageColumn,
  listDepth,
  toRows,
  writeColumn,
} from '../dataset/parquet-schema.js';
import { type FileSlot, makeFolderOf, nextSlot } from '../dataset/staged.js';
import { dataPath } from '../dataset/write-metadata.js';
import type { OtherColumns } from './read-others.js';

/** Values of one episode: numbers row-major by feature. */
export type EpisodeNumbers = ReadonlyMap<string, ArrayLike<number> | BigInt64Array>;

/**
 * The data files of a dataset that is written in one go, one row group per episode. Files are written under their own names as they
 * grow: nobody looks at the folder before it is complete.
 */
export class DataWriter {
  readonly #root: string;
  readonly #features: readonly (readonly [string, FeatureInfo])[];
  readonly #maxBytes: number;
  #slot: FileSlot = { chunk: 0, file: 0 };
  #open: { path: string; bytes: ByteWriter; parquet: ParquetWriter } | undefined;

  /** @param features All of them; videos are left out. */
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
      // Every picture is different: a dictionary or extremes of them would only cost.
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
    makeFolderOf(path);
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
