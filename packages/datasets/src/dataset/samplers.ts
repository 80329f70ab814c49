import { CraftError } from '@craft-ft/torch';
import type { EpisodeSpan, SubsetIndex } from './indices.js';
import { shuffle, Xoshiro128 } from './random.js';

/**
 * The order in which frames are trained on, a pure function of (seed, epoch): nothing is consumed, so a run resumes from its
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
