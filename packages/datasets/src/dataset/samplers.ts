import { CraftError } from '@craft-ft/torch';
import type { EpisodeSpan, SubsetIndex } from './indices.js';
import { shuffle, Xoshiro128 } from './random.js';

/**
 * The order in which frames are trained on, a pure function of (seed, epoch): there is no random state, so a run resumes from its
 * step number alone.
 *
 * Epoch `e` is the sampler's frames, shuffled (Fisher–Yates, last to first) by Xoshiro128** keyed with (seed, e), or in
 * dataset order when `shuffle` is off. All epochs laid end to end form one endless sequence. Step `s` (from 0) with batch size
 * `b` takes the positions `s·b … s·b + b − 1` of that sequence: position `p` is element `p mod n` of epoch `⌊p / n⌋`, `n`
 * being `length`. A batch may thus span epochs; no frame is dropped and every batch is full.
 */
export class FrameSampler {
  readonly seed: number;
  readonly shuffle: boolean;
  readonly #frames: Uint32Array;
  readonly #recent = new Map<number, Uint32Array>();

  constructor(frames: Uint32Array, seed: number, shuffled: boolean) {
    if (!Number.isSafeInteger(seed)) {
      throw new CraftError('SAMPLER_SEED', `the sampler's seed must be a whole number, not ${seed}`);
    }
    if (frames.length === 0) {
      throw new CraftError(
        'SAMPLER_EMPTY',
        'the sampler has no frames: the dataset is empty or its episodes are too short',
      );
    }
    this.#frames = frames;
    this.seed = seed;
    this.shuffle = shuffled;
  }

  /** Frames in one epoch. */
  get length(): number {
    return this.#frames.length;
  }

  /** All frames of an epoch in order (rows among the loaded episodes). Do not modify the array. */
  epochOrder(epoch: number): Uint32Array {
    if (!this.shuffle) return this.#frames;
    const known = this.#recent.get(epoch);
    if (known !== undefined) return known;
    const order = this.#frames.slice();
    shuffle(order, new Xoshiro128(this.seed, epoch));
    // Two epochs suffice: a batch (or a prefetching loader) looks at the current one and the next.
    if (this.#recent.size >= 2) this.#recent.delete(Math.min(...this.#recent.keys()));
    this.#recent.set(epoch, order);
    return order;
  }

  /** Where in the sequence of epochs the batch of a step begins. */
  position(step: number, batchSize: number): { epoch: number; start: number } {
    if (!Number.isSafeInteger(step) || step < 0) {
      throw new CraftError('SAMPLER_STEP', `the step must be a whole number from 0 on, not ${step}`);
    }
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new CraftError(
        'SAMPLER_BATCH_SIZE',
        `batch_size must be a whole number from 1 on, not ${batchSize}`,
      );
    }
    const first = step * batchSize;
    return { epoch: Math.floor(first / this.length), start: first % this.length };
  }

  /** The rows of step `step` (from 0): always `batchSize` of them. */
  batchIndices(step: number, batchSize: number): SubsetIndex[] {
    const { epoch, start } = this.position(step, batchSize);
    const rows = new Array<SubsetIndex>(batchSize);
    let current = epoch;
    let order = this.epochOrder(current);
    for (let i = 0, at = start; i < batchSize; i++, at++) {
      if (at === order.length) {
        order = this.epochOrder(++current);
        at = 0;
      }
      rows[i] = order[at] as SubsetIndex;
    }
    return rows;
  }
}

/** Options common to the samplers. */
export interface SamplerOptions {
  /** Any whole number. */
  seed: number;
  /** Whether each epoch is shuffled. */
  shuffle?: boolean;
}

/** Every loaded frame once per epoch, shuffled by default. */
export class RandomSampler extends FrameSampler {
  /** @param dataset Anything with a number of frames, e.g. a LeRobotDataset. */
  constructor(dataset: { readonly length: number }, options: SamplerOptions) {
    super(
      Uint32Array.from({ length: dataset.length }, (_, i) => i),
      options.seed,
      options.shuffle ?? true,
    );
  }
}

/** Options of {@link EpisodeAwareSampler}, by LeRobot's names. */
export interface EpisodeAwareSamplerOptions extends SamplerOptions {
  /** Frames left out at each episode's start. Default 0. */
  drop_n_first_frames?: number;
  /** Frames left out at each episode's end. Default 0. */
  drop_n_last_frames?: number;
}

/**
 * Leaves out frames at the ends of every episode, as LeRobot's `datasets/sampler.py: EpisodeAwareSampler`; not shuffled by
 * default, as there. An episode with no frame left contributes none.
 */
export class EpisodeAwareSampler extends FrameSampler {
  /** @param dataset Anything with loaded episodes, e.g. a LeRobotDataset. */
  constructor(dataset: { readonly episodes: readonly EpisodeSpan[] }, options: EpisodeAwareSamplerOptions) {
    const first = dropCount('drop_n_first_frames', options.drop_n_first_frames);
    const last = dropCount('drop_n_last_frames', options.drop_n_last_frames);
    const rows: number[] = [];
    for (const { start, end } of dataset.episodes) {
      for (let row = start + first; row < end - last; row++) rows.push(row);
    }
    super(Uint32Array.from(rows), options.seed, options.shuffle ?? false);
  }
}

function dropCount(name: string, value = 0): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new CraftError('SAMPLER_DROP', `${name} must be a whole number from 0 on, not ${value}`);
}

/** Frames that are drawn with a common share, such as a dataset of a mixture or a task. */
export interface SamplerGroup {
  /** Row numbers of its frames. */
  readonly rows: Uint32Array;
  /** Fraction of the draws; the shares of all groups add up to 1. */
  readonly share: number;
  /** Decides the order within the group. */
  readonly seed: number;
}

/** Draws per block; shares are exact to 1 / BLOCK. */
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

  /** The group of each draw of a block, and how many draws of that group precede it in the block. */
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
