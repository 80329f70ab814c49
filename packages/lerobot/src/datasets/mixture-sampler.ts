import { createHash } from 'node:crypto';
import { CraftError } from '@craft-ft/torch';
import type { SubsetIndex } from './indices.js';
import type { MultiDataset } from './mixture.js';
import { Xoshiro128 } from './random.js';
import { EpisodeAwareSampler, FrameSampler } from './samplers.js';

/** Options of {@link MixtureSampler}. */
export interface MixtureSamplerOptions {
  /** Any whole number. */
  seed: number;
  /** Frames left out at each episode's end. Default 0. */
  drop_n_last_frames?: number;
}

/** Frames that are apportioned together; weights are exact to 1 / BLOCK. */
const BLOCK = 4096;

/**
 * The order in which a mixture's frames are drawn, a pure function of (seed, members): a run resumes from its step number alone,
 * and the order in which members are given changes nothing.
 *
 * Draws come in blocks of 4096. Each block has the same number of every member (weight · 4096, largest remainders rounded up, at
 * least 1), in an order shuffled by (seed, block). A member's draws run through its own epochs: every frame once, newly shuffled
 * each time by the seed and the member's repoId, so a small dataset with a high weight is seen often but evenly.
 */
export class MixtureSampler extends FrameSampler {
  readonly #mixture: MultiDataset;
  readonly #samplers: readonly FrameSampler[];
  readonly #quotas: readonly number[];
  readonly #blocks = new Map<number, { member: Uint16Array; rank: Uint16Array }>();

  constructor(mixture: MultiDataset, { seed, drop_n_last_frames }: MixtureSamplerOptions) {
    super(
      Uint32Array.from({ length: mixture.length }, (_, row) => row),
      seed,
      true,
    );
    this.#mixture = mixture;
    this.#samplers = mixture.members.map((member, i) => {
      const own = memberSeed(seed, mixture.names[i]!);
      return new EpisodeAwareSampler(member, { seed: own, shuffle: true, drop_n_last_frames });
    });
    this.#quotas = apportion(mixture.weights, BLOCK);
  }

  /** Frames of each member in every 4096 draws. */
  get quotas(): readonly number[] {
    return this.#quotas;
  }

  /** The rows of step `step` (from 0): always `batchSize` of them. */
  override batchIndices(step: number, batchSize: number): SubsetIndex[] {
    // Checks both numbers.
    this.position(step, batchSize);
    return Array.from({ length: batchSize }, (_, i) => this.#draw(step * batchSize + i));
  }

  #draw(position: number): SubsetIndex {
    const block = Math.floor(position / BLOCK);
    const { member: members, rank } = this.#block(block);
    const at = position % BLOCK;
    const member = members[at]!;
    const [own] = this.#samplers[member]!.batchIndices(block * this.#quotas[member]! + rank[at]!, 1);
    return this.#mixture.row(member, own!);
  }

  /** Which member each draw of a block is from, and how many draws of that member precede it in the block. */
  #block(block: number): { member: Uint16Array; rank: Uint16Array } {
    const known = this.#blocks.get(block);
    if (known !== undefined) return known;
    const member = Uint16Array.from(this.#quotas.flatMap((quota, i) => new Array<number>(quota).fill(i)));
    const random = new Xoshiro128(this.seed, block);
    for (let i = BLOCK - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [member[i], member[j]] = [member[j]!, member[i]!];
    }
    const seen = new Uint16Array(this.#quotas.length);
    const rank = Uint16Array.from(member, (i) => seen[i]++);
    if (this.#blocks.size >= 2) this.#blocks.delete(Math.min(...this.#blocks.keys()));
    this.#blocks.set(block, { member, rank });
    return { member, rank };
  }
}

/** A seed of its own for every member, whatever the other members are. */
function memberSeed(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUIntBE(0, 6);
}

/** Whole numbers that add up to `total`, in the proportion of the shares: largest remainders are rounded up, none is below 1. */
export function apportion(shares: readonly number[], total: number): number[] {
  if (shares.length > total)
    throw new CraftError(
      'MIXTURE_WEIGHT',
      `a mixture can have at most ${total} datasets, not ${shares.length}`,
    );
  const quotas = shares.map((share) => Math.max(1, Math.floor(share * total)));
  const remainder = (i: number): number => shares[i]! * total - quotas[i]!;
  let left = total - quotas.reduce((a, b) => a + b, 0);
  for (; left !== 0; left -= Math.sign(left)) {
    const candidates = [...quotas.keys()].filter((i) => left > 0 || quotas[i]! > 1);
    const best = candidates.reduce((a, b) =>
      (left > 0 ? remainder(b) > remainder(a) : remainder(b) < remainder(a)) ? b : a,
    );
    quotas[best]! += Math.sign(left);
  }
  return quotas;
}
