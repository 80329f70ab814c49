import { join } from 'node:path';
import { cat, type Tensor } from '@craft-ft/torch';
import { addSquares } from '../build-samples.js';
import type { AnchorCacheMetadata } from '../metadata.js';
import { fileHash, finishedShard, shardName, writeShard } from '../shard.js';
import { sumsOfSquares } from '../targets.js';

/** Cuts samples into shards of one size. */
export class ShardWriter {
  readonly shards: AnchorCacheMetadata['shards'] = [];
  readonly squares: Record<string, number[]> = {};
  tensors: AnchorCacheMetadata['tensors'] = {};
  #rest: Record<string, Tensor> | null = null;

  constructor(
    private readonly dir: string,
    private readonly fingerprint: string,
    private readonly size: number,
  ) {}

  add(more: Record<string, Tensor>): void {
    const rest = this.#rest;
    const all = Object.entries(more).map(
      ([name, values]) => [name, rest === null ? values : cat([rest[name]!, values], 0)] as const,
    );
    const count = all[0]![1].size(0);
    const part = (start: number, length: number) =>
      Object.fromEntries(all.map(([name, values]) => [name, values.narrow(0, start, length).contiguous()]));
    let start = 0;
    for (; start + this.size <= count; start += this.size) this.#write(part(start, this.size), this.size);
    const left = start === count ? null : part(start, count - start);
    // These outlive the shard they were read from.
    const kept =
      left === null ? null : Object.fromEntries(Object.entries(left).map(([n, v]) => [n, v.clone().keep()]));
    this.#release();
    this.#rest = kept;
  }

  finish(): void {
    const rest = this.#rest;
    if (rest !== null) this.#write(rest, Object.values(rest)[0]!.size(0));
    this.#release();
  }

  #release(): void {
    for (const values of Object.values(this.#rest ?? {})) values.dispose();
    this.#rest = null;
  }

  #write(tensors: Record<string, Tensor>, count: number): void {
    const file = shardName(this.shards.length);
    const { dir, fingerprint } = this;
    const squares = sumsOfSquares(tensors);
    addSquares(this.squares, squares);
    writeShard(dir, file, new Map(Object.entries(tensors)), { fingerprint, squares, states: 0 });
    this.tensors = finishedShard(dir, file, fingerprint, count)!.tensors;
    this.shards.push({ file, count, sha256: fileHash(join(dir, file)) });
  }
}
