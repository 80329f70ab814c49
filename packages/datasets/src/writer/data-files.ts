import { dirname } from 'node:path';
import { makeFolder, type StagedFile } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import type { ColumnSource } from 'hyparquet-writer';
import { formatPath } from '../dataset/dataset-files.js';
import {
  emptyBody,
  fileSchema,
  huggingfaceMetadata,
  imageColumn,
  listDepth,
  type ParquetBody,
  stageRowGroup,
  toRows,
  type WriteColumn,
  writeColumn,
} from './parquet-writer.js';

/** An image as stored in the data file: PNG bytes, and the name it would have as a file. */
export interface StoredImage {
  readonly bytes: Uint8Array;
  readonly path: string;
}

/** An episode's values of one feature: numbers row-major, texts, or images. */
export type EpisodeColumn = ArrayLike<number> | BigInt64Array | readonly string[] | readonly StoredImage[];

interface DataFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The files under `data/`: one row group per episode, every feature except videos. */
export class DataFiles {
  readonly #root: string;
  readonly #dataPath: string;
  readonly #features: readonly [string, DataFeature][];
  readonly #columns: readonly WriteColumn[];
  readonly #maxBytes: number;
  readonly #chunksSize: number;
  #slot: FileSlot;
  #body: ParquetBody = emptyBody;

  constructor(options: {
    readonly root: string;
    readonly dataPath: string;
    readonly features: Readonly<Record<string, DataFeature>>;
    readonly maxBytes: number;
    readonly chunksSize: number;
    readonly first: FileSlot;
  }) {
    this.#root = options.root;
    this.#dataPath = options.dataPath;
    this.#features = Object.entries(options.features).filter(([, { dtype }]) => dtype !== 'video');
    this.#columns = this.#features.map(([key, { dtype, shape }]) =>
      dtype === 'image' ? imageColumn(key) : writeColumn(key, dtype, listDepth(shape)),
    );
    this.#maxBytes = options.maxBytes;
    this.#chunksSize = options.chunksSize;
    this.#slot = options.first;
  }

  /** @throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
  stage(columns: ReadonlyMap<string, EpisodeColumn>, rows: number): Staged<FileSlot> {
    const estimate = this.#features.reduce((sum, [key]) => sum + byteSize(columns.get(key)!), 0);
    const full = this.#body.rowGroups.length > 0 && this.#body.bytes + estimate >= this.#maxBytes;
    const slot = full ? nextSlot(this.#slot, this.#chunksSize) : this.#slot;
    const path = formatPath(this.#root, this.#dataPath, { chunk_index: slot.chunk, file_index: slot.file });
    makeFolder(dirname(path));
    const { file, body } = stageRowGroup(
      path,
      full ? emptyBody : this.#body,
      fileSchema(this.#columns),
      this.#features.map(([name, feature]) => columnSource(name, feature, columns.get(name)!, rows)),
      [{ key: 'huggingface', value: huggingfaceMetadata(Object.fromEntries(this.#features)) }],
    );
    return {
      files: [file],
      value: slot,
      accept: () => {
        this.#slot = slot;
        this.#body = body;
      },
    };
  }
}

function columnSource(
  name: string,
  { dtype, shape }: DataFeature,
  values: EpisodeColumn,
  rows: number,
): ColumnSource {
  // No two images are alike: a dictionary or min/max statistics would only take space.
  if (dtype === 'image') {
    return { name, data: values as DecodedArray, encoding: 'PLAIN', statistics: false };
  }
  if (dtype === 'string') return { name, data: [...(values as readonly string[])].slice(0, rows) };
  return { name, data: toRows(dtype, shape, values as ArrayLike<number>) };
}

function byteSize(values: EpisodeColumn): number {
  if (ArrayBuffer.isView(values)) return values.byteLength;
  return Array.from(values as readonly (number | string | StoredImage)[]).reduce<number>(
    (sum, value) => sum + (typeof value === 'object' ? value.bytes.length : String(value).length),
    0,
  );
}

/** Part of an episode, written to disk but not yet renamed. */
export interface Staged<T> {
  /** In the order of committing. */
  readonly files: readonly StagedFile[];
  /** What the other files need to know about it. */
  readonly value: T;
  /** Called when every file of the episode is committed: the next episode follows this one. */
  accept(): void;
}

/** One of the numbered files: `chunk-{chunk}/file-{file}`. */
export interface FileSlot {
  readonly chunk: number;
  readonly file: number;
}

/** LeRobot's `update_chunk_file_indices`. @param chunksSize Files per chunk. */
export function nextSlot({ chunk, file }: FileSlot, chunksSize: number): FileSlot {
  return file + 1 >= chunksSize ? { chunk: chunk + 1, file: 0 } : { chunk, file: file + 1 };
}

/** The slot after all given ones; the first slot if there are none. */
export function slotAfter(slots: readonly FileSlot[], chunksSize: number): FileSlot {
  const last = slots.reduce<FileSlot | undefined>(
    (a, b) => (a === undefined || b.chunk > a.chunk || (b.chunk === a.chunk && b.file > a.file) ? b : a),
    undefined,
  );
  return last === undefined ? { chunk: 0, file: 0 } : nextSlot(last, chunksSize);
}
