import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, cat, libtorchVersion, type Tensor } from '@craft-ft/torch';
import { finishBuild, openBuildFolder, savePlan } from './build-folder.js';
import { addSquares, sumsOfSquares } from './build-samples.js';
import { AnchorCacheDataset, fileHash, finishedShard, shardName, writeShard } from './cache.js';
import {
  ANCHOR_CACHE_VERSION,
  ANCHOR_METADATA_FILE,
  type AnchorCacheMetadata,
  anchorCacheMetadataSchema,
  VERSION,
} from './metadata.js';
import { hashJson } from './processor-hash.js';

/** What the writer cannot know by itself. */
export type AnchorCacheDescription = Omit<
  AnchorCacheMetadata,
  'format' | 'version' | 'fingerprint' | 'num_samples' | 'shard_size' | 'shards' | 'tensors' | 'versions'
>;

/**
 * Writes an anchor cache from samples that arrive in parts of any size, for anchors from other sources.
 *
 * @example
 * ```
 * const writer = new AnchorCacheWriter('anchors/kitchen', request);
 * if (writer.complete !== null) return writer.complete;
 * for (const part of parts) writer.add(part);
 * writer.flush();
 * return writer.finish(description);
 * ```
 */
export class AnchorCacheWriter {
  /** The cache already in the folder, if it is complete and was built for the same request; else null. */
  readonly complete: AnchorCacheMetadata | null;
  readonly #fingerprint: string;
  readonly #shardSize: number;
  readonly #shards: AnchorCacheMetadata['shards'] = [];
  readonly #squares: Record<string, number[]> = {};
  #tensors: AnchorCacheMetadata['tensors'] = {};
  #rest: Record<string, Tensor> | null = null;

  /**
   * @param request everything that decides about the content, for the fingerprint
   * @param options `shardSize`: samples per file, default 256; `overwrite`: whether another cache in the folder is deleted, default false
   * @throws CraftError `ANCHOR_CACHE_EXISTS`
   */
  constructor(
    readonly dir: string,
    request: unknown,
    { shardSize = 256, overwrite = false }: { shardSize?: number; overwrite?: boolean } = {},
  ) {
    this.#shardSize = shardSize;
    this.#fingerprint = hashJson(request);
    this.complete = completeCache(dir, this.#fingerprint);
    if (this.complete !== null) return;
    openBuildFolder(dir, this.#fingerprint, overwrite);
    // Marks the folder as belonging to this request, so that an interrupted run can be resumed.
    const frames = { dataset: [], episode: [], frame: [] };
    savePlan(dir, { fingerprint: this.#fingerprint, frames, pool_size: null, coverage: null });
  }

  /** @param samples tensors `[n, …]` by name, the same names each time */
  add(samples: Record<string, Tensor>): void {
    const rest = this.#rest;
    const all = Object.entries(samples).map(
      ([name, values]) => [name, rest === null ? values : cat([rest[name]!, values], 0)] as const,
    );
    const count = all[0]![1].size(0);
    const part = (start: number, length: number) =>
      Object.fromEntries(all.map(([name, values]) => [name, values.narrow(0, start, length).contiguous()]));
    const size = this.#shardSize;
    let start = 0;
    for (; start + size <= count; start += size) this.#write(part(start, size), size);
    const left = start === count ? [] : Object.entries(part(start, count - start));
    const kept = left.map(([name, values]) => [name, values.clone().keep()]);
    this.#release();
    this.#rest = kept.length === 0 ? null : Object.fromEntries(kept);
  }

  /** Writes what does not fill a shard; afterwards `tensors` and `moments` are known. */
  flush(): void {
    const rest = this.#rest;
    if (rest !== null) this.#write(rest, Object.values(rest)[0]!.size(0));
    this.#release();
  }

  /** Samples written. */
  get count(): number {
    return this.#shards.reduce((sum, { count }) => sum + count, 0);
  }

  /** dtype and shape of one sample of each tensor. */
  get tensors(): AnchorCacheMetadata['tensors'] {
    return this.#tensors;
  }

  /** Mean squares of a target over its last dimension, flat. */
  moments(name: string): number[] {
    const width = this.#tensors[name]?.shape.at(-1) ?? 1;
    return (this.#squares[name] ?? []).map((sum) => sum / (this.count * width));
  }

  /** Writes the metadata, which makes the cache complete. */
  finish(description: AnchorCacheDescription): AnchorCacheMetadata {
    // Through the schema, which also puts the fields in order.
    const metadata = anchorCacheMetadataSchema.parse({
      format: 'craft-anchor-cache',
      version: ANCHOR_CACHE_VERSION,
      fingerprint: this.#fingerprint,
      num_samples: this.count,
      shard_size: this.#shardSize,
      shards: this.#shards,
      tensors: this.#tensors,
      versions: { craft: VERSION, libtorch: libtorchVersion(), node: process.versions.node },
      ...description,
    });
    finishBuild(this.dir, metadata);
    return metadata;
  }

  #release(): void {
    for (const values of Object.values(this.#rest ?? {})) values.dispose();
    this.#rest = null;
  }

  #write(tensors: Record<string, Tensor>, count: number): void {
    const file = shardName(this.#shards.length);
    const fingerprint = this.#fingerprint;
    const squares = sumsOfSquares(tensors);
    addSquares(this.#squares, squares);
    writeShard(this.dir, file, new Map(Object.entries(tensors)), { fingerprint, squares, states: 0 });
    this.#tensors = finishedShard(this.dir, file, fingerprint, count)!.tensors;
    this.#shards.push({ file, count, sha256: fileHash(join(this.dir, file)) });
  }
}

function completeCache(dir: string, fingerprint: string): AnchorCacheMetadata | null {
  if (!existsSync(join(dir, ANCHOR_METADATA_FILE))) return null;
  try {
    using cache = AnchorCacheDataset.open(dir);
    return cache.metadata.fingerprint === fingerprint ? cache.metadata : null;
  } catch (error) {
    if (error instanceof CraftError) return null;
    throw error;
  }
}
