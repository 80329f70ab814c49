import { join } from 'node:path';
import { CraftError, fromTypedArray, safetensors, type Tensor } from '@craft-ft/torch';
import { type AnchorCacheMetadata, readAnchorMetadata } from './metadata.js';
import type { RowTable } from './rows.js';
import { checkShard, fileHash, openShard } from './shard.js';

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
 * An anchor cache on disk. Opening reads the headers of every shard; `read` reads the bytes of the samples asked for and nothing else,
 * so that any order of samples costs the same and a cache may be larger than memory.
 *
 * @example
 * ```ts
 * using cache = AnchorCacheDataset.open('anchors/kitchen');
 * const { tensors, tasks } = cache.read([0, 17, 4]);
 * tensors['anchor.hidden']?.shape; // [3, n_layers, n_poolings, H]
 * ```
 */
export class AnchorCacheDataset implements Disposable {
  readonly #files = new Map<number, ReturnType<typeof openShard>>();

  private constructor(
    readonly dir: string,
    readonly metadata: AnchorCacheMetadata,
  ) {}

  /**
   * @throws CraftError as `readAnchorMetadata`; `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming the first shard that is not as
   * the metadata says
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
   * @throws CraftError `ANCHOR_SHARD_MISSING`, `SAFETENSORS_INVALID` where a shard changed meanwhile
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

  #shard(index: number): ReturnType<typeof openShard> {
    let file = this.#files.get(index);
    if (file === undefined) {
      file = openShard(this.dir, this.metadata.shards[index]!.file);
      if (this.#files.size >= OPEN_SHARDS) {
        const [oldest, other] = this.#files.entries().next().value!;
        other.close();
        this.#files.delete(oldest);
      }
    } else this.#files.delete(index);
    // The last entry is the one used last.
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

// The same bytes as elements of a size that libtorch takes for any dtype of that size.
function view(bytes: Uint8Array, size: number): Uint8Array | Int16Array | Float32Array | Float64Array {
  if (size === 2) return new Int16Array(bytes.buffer);
  if (size === 4) return new Float32Array(bytes.buffer);
  if (size === 8) return new Float64Array(bytes.buffer);
  return bytes;
}
