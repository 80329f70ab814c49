import { CraftError } from '@craft-ft/torch';
import type { SubsetIndex } from './indices.js';
import { Xoshiro128 } from './random.js';
import { FrameSampler } from './samplers.js';

/** Frames that share a part of the draws: a dataset of a mixture, a task. */
export interface SamplerGroup {
  /** Rows of its frames, among all. */
  readonly rows: Uint32Array;
  /** Part of the draws; the groups' add up to 1. */
  readonly share: number;
  /** Decides the order within the group. */
  readonly seed: number;
}

/** Frames that are apportioned together; shares are exact to 1 / BLOCK. */
const BLOCK = 4096;

/**
 * Draws from groups of frames by their shares, a pure function of the seeds and the step.
 *
 * Draws come in blocks of 4096. Each block has the same number of every group (share · 4096, largest remainders rounded up, at
 * least 1), in an order shuffled by (seed, block). A group's draws run through its own epochs: every frame once, newly shuffled each
 * time, so a small group with a large share is seen often but evenly, and no frame is dropped.
 */
export class GroupSampler extends FrameSampler {
  readonly #samplers: readonly FrameSampler[];
  readonly #quotas: readonly number[];
  readonly #blocks = new Map<number, { group: Uint16Array; rank: Uint16Array }>();

  /**
   * @param rows all frames, for the length of an epoch
   * @throws CraftError `SAMPLER_EMPTY` for a group without frames; `MIXTURE_WEIGHT` for more than 4096 groups
   */
  constructor(rows: Uint32Array, groups: readonly SamplerGroup[], seed: number) {
    super(rows, seed, true);
    this.#samplers = groups.map((group) => new FrameSampler(group.rows, group.seed, true));
    this.#quotas = apportion(
      groups.map(({ share }) => share),
      BLOCK,
    );
  }

  /** Frames of each group in every 4096 draws. */
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
    const { group: groups, rank } = this.#block(block);
    const at = position % BLOCK;
    const group = groups[at]!;
    const [row] = this.#samplers[group]!.batchIndices(block * this.#quotas[group]! + rank[at]!, 1);
    return row!;
  }

  /** Which group each draw of a block is from, and how many draws of that group precede it in the block. */
  #block(block: number): { group: Uint16Array; rank: Uint16Array } {
    const known = this.#blocks.get(block);
    if (known !== undefined) return known;
    const group = Uint16Array.from(this.#quotas.flatMap((quota, i) => new Array<number>(quota).fill(i)));
    const random = new Xoshiro128(this.seed, block);
    for (let i = BLOCK - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [group[i], group[j]] = [group[j]!, group[i]!];
    }
    const seen = new Uint16Array(this.#quotas.length);
    const rank = Uint16Array.from(group, (i) => seen[i]++);
    if (this.#blocks.size >= 2) this.#blocks.delete(Math.min(...this.#blocks.keys()));
    this.#blocks.set(block, { group, rank });
    return { group, rank };
  }
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
