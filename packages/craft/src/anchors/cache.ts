import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, fromTypedArray, safetensors, type Tensor } from '@craft-ft/torch';
import { type AnchorCacheMetadata, readAnchorMetadata } from './metadata.js';
import type { RowTable } from './rows.js';

/** Shards kept open; the operating system caches what was read of them. */
const OPEN_SHARDS = 64;

/** Samples of a cache as they are stored. */
export interface StoredSamples {
  /** `[B, …]` each, on the CPU, in the stored dtype; in the current scope. */
  readonly tensors: Record<string, Tensor>;
  /** The instruction of each. */
  readonly tasks: string[];
}

/**
 * An anchor cache on disk. Opening reads the header of every shard; `read` reads only the bytes of the requested samples, so any order
 * costs the same and a cache may be larger than memory.
 *
 * @example
 * ```ts
 * using cache = AnchorCacheDataset.open('anchors/kitchen');
 * const { tensors, tasks } = cache.read([0, 17, 4]);
 * tensors['anchor.hidden']?.shape; // [3, n_layers, n_poolings, H]
 * ```
 */
export class AnchorCacheDataset implements Disposable {
  readonly #files = new Map<number, safetensors.SafetensorsFile>();

  private constructor(
    readonly dir: string,
    readonly metadata: AnchorCacheMetadata,
  ) {}

  /**
   * @throws CraftError as `readAnchorMetadata`; `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming the first shard that does not match
   * the metadata
   */
  static open(dir: string): AnchorCacheDataset {
    const metadata = readAnchorMetadata(dir);
    const { shards, shard_size: size } = metadata;
    for (const [i, { file, count }] of shards.entries()) {
      const expected = i < shards.length - 1 ? size : count;
      if (count !== expected || count > size) {
        const message = `${join(dir, 'metadata.json')}: shards.${i}.count is ${count}; all but the last have shard_size (${size})`;
        throw new CraftError('ANCHOR_CACHE_INVALID', `${message}; build the cache anew`);
      }
      checkShard(dir, file, count, metadata.tensors);
    }
    return new AnchorCacheDataset(dir, metadata);
  }

  get length(): number {
    return this.metadata.num_samples;
  }

  /** What is known of each sample, for choosing among them. */
  get table(): RowTable {
    const { num_samples: length, task_index, tasks, frames } = this.metadata;
    const places = new Map<string, number>();
    const episode = Int32Array.from({ length }, (_, row) => {
      if (frames === null) return -1;
      const place = `${frames.dataset[row]}/${frames.episode[row]}`;
      if (!places.has(place)) places.set(place, places.size);
      return places.get(place)!;
    });
    const dataset = frames === null ? new Int32Array(length) : Int32Array.from(frames.dataset);
    return { length, episode, task: Int32Array.from(task_index), dataset, tasks };
  }

  /**
   * Reads samples.
   *
   * @param names tensors to read. Default: all
   * @throws CraftError `ANCHOR_SHARD_MISSING`, `SAFETENSORS_INVALID` if a shard has changed since
   */
  read(
    rows: readonly number[],
    names: readonly string[] = Object.keys(this.metadata.tensors),
  ): StoredSamples {
    const tensors: Record<string, Tensor> = {};
    for (const name of names) tensors[name] = this.#column(name, rows);
    const { tasks, task_index: index } = this.metadata;
    return { tensors, tasks: rows.map((row) => tasks[index[row]!]!) };
  }

  #column(name: string, rows: readonly number[]): Tensor {
    const { dtype, shape } = this.metadata.tensors[name]!;
    const stored = dtype as safetensors.SafetensorsDtype;
    const torchDtype = safetensors.torchDtype(stored);
    if (torchDtype === undefined) {
      throw new CraftError(
        'ANCHOR_CACHE_INVALID',
        `${this.dir}/metadata.json: tensors.${name}.dtype is ${dtype}, which tensors cannot hold; build the cache anew`,
      );
    }
    const elements = shape.reduce((product, size) => product * size, 1);
    const bytes = elements * safetensors.itemSize(stored);
    const data = new Uint8Array(rows.length * bytes);
    rows.forEach((row, i) => {
      const index = Math.floor(row / this.metadata.shard_size);
      const local = row - index * this.metadata.shard_size;
      this.#shard(index).readPart(name, local * bytes, data.subarray(i * bytes, (i + 1) * bytes));
    });
    return fromTypedArray(view(data, safetensors.itemSize(stored)), [rows.length, ...shape], torchDtype);
  }

  #shard(index: number): safetensors.SafetensorsFile {
    let file = this.#files.get(index);
    if (file === undefined) {
      file = openShard(this.dir, this.metadata.shards[index]!.file);
      if (this.#files.size >= OPEN_SHARDS) {
        const [oldest, other] = this.#files.entries().next().value!;
        other.close();
        this.#files.delete(oldest);
      }
    } else this.#files.delete(index);
    // The most recently used entry is last.
    this.#files.set(index, file);
    return file;
  }

  /**
   * Compares every shard with the hash in the metadata.
   *
   * @returns the names of those that differ
   */
  verify(onProgress: (shards: number) => void = () => {}): string[] {
    return this.metadata.shards
      .filter(({ file, sha256 }, i) => {
        const differs = fileHash(join(this.dir, file)) !== sha256;
        onProgress(i + 1);
        return differs;
      })
      .map(({ file }) => file);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

// Reinterpreted as elements of the same size: libtorch accepts the bytes for any dtype of that size.
function view(bytes: Uint8Array, size: number): Uint8Array | Int16Array | Float32Array | Float64Array {
  if (size === 2) return new Int16Array(bytes.buffer);
  if (size === 4) return new Float32Array(bytes.buffer);
  if (size === 8) return new Float64Array(bytes.buffer);
  return bytes;
}

/** Name of a shard's file. */
export function shardName(index: number): string {
  return `shard_${String(index).padStart(5, '0')}.safetensors`;
}

/** dtype and shape of one sample of each stored tensor. */
export type TensorTable = Record<string, { dtype: string; shape: number[] }>;

/** What a shard says about itself. */
export interface ShardNotes {
  /** Of the build it belongs to. */
  fingerprint: string;
  /** Sums of squares of the targets over the shard, by tensor; for the second moments of the whole cache. */
  squares: Record<string, number[]>;
  /** How many hidden states the teacher has; 0 if unknown (in every shard but the first). */
  states: number;
}

/**
 * Writes a shard, all or nothing.
 *
 * @param tensors `[count, …]` each
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
 */
export function writeShard(
  dir: string,
  file: string,
  tensors: ReadonlyMap<string, Tensor>,
  notes: ShardNotes,
): void {
  safetensors.saveFile(join(dir, file), tensors, {
    fingerprint: notes.fingerprint,
    squares: JSON.stringify(notes.squares),
    states: String(notes.states),
  });
}

/**
 * Opens a shard and checks its header.
 *
 * @throws CraftError `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming the file
 */
function openShard(dir: string, file: string): safetensors.SafetensorsFile {
  const path = join(dir, file);
  if (!existsSync(path)) throw broken('ANCHOR_SHARD_MISSING', path, 'the file is missing');
  try {
    return safetensors.SafetensorsFile.open(path);
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    throw broken('ANCHOR_SHARD_INVALID', path, `damaged (${error.message.replace(`${path}: `, '')})`, error);
  }
}

function broken(code: string, path: string, what: string, cause?: unknown): CraftError {
  const remedy = 'delete the file and run the same craft anchors build again, which makes it anew';
  return new CraftError(code, `${path}: ${what}; ${remedy}`, { cause });
}

/**
 * Checks that a shard holds what the metadata says.
 *
 * @throws CraftError `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming file and tensor
 */
function checkShard(dir: string, file: string, count: number, tensors: TensorTable): void {
  using shard = openShard(dir, file);
  const path = join(dir, file);
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    if (!shard.has(name)) throw broken('ANCHOR_SHARD_INVALID', path, `tensor ${name} is missing`);
    const info = shard.info(name);
    if (info.dtype === dtype && info.shape.join() === [count, ...shape].join()) continue;
    const found = `tensor ${name} is ${info.dtype} [${info.shape}]`;
    throw broken(
      'ANCHOR_SHARD_INVALID',
      path,
      `${found}, metadata.json says ${dtype} [${[count, ...shape]}]`,
    );
  }
}

/** The notes of a finished shard of a build, or null where there is none or it belongs to another build. */
export function finishedShard(
  dir: string,
  file: string,
  fingerprint: string,
  count: number,
): { notes: ShardNotes; tensors: TensorTable } | null {
  if (!existsSync(join(dir, file))) return null;
  try {
    using shard = openShard(dir, file);
    if (shard.metadata.get('fingerprint') !== fingerprint) return null;
    const tensors: TensorTable = {};
    for (const name of shard.names) {
      const { dtype, shape } = shard.info(name);
      if (shape[0] !== count) return null;
      tensors[name] = { dtype, shape: shape.slice(1) };
    }
    const squares = JSON.parse(shard.metadata.get('squares') ?? '{}') as Record<string, number[]>;
    const states = Number(shard.metadata.get('states') ?? 0);
    return { notes: { fingerprint, squares, states }, tensors };
  } catch (error) {
    // A damaged shard is rebuilt.
    if (error instanceof CraftError || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** SHA-256 of a file, read in parts. @throws CraftError `FILE_UNREADABLE` */
export function fileHash(path: string): string {
  const hash = createHash('sha256');
  const part = new Uint8Array(2 ** 22);
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    for (let count = 1; count > 0; ) {
      count = readSync(fd, part, 0, part.length, null);
      hash.update(part.subarray(0, count));
    }
  } catch (error) {
    throw new CraftError('FILE_UNREADABLE', `${path}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return hash.digest('hex');
}

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
  /** Shards whose hash does not match the metadata; null if not verified. */
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
