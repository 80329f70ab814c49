import type { Tensor } from '@craft-ft/torch';
import type { PolicyOutput } from './policy.js';

interface Sum {
  /** Σ mean · count */
  total: number;
  count: number;
}

/** State returned by {@link LossMean.toJSON}. */
export interface LossMeanState {
  batches: number;
  loss: Sum;
  metrics: Record<string, Sum>;
  weights: Record<string, number> | null;
}

/**
 * The mean of a loss and its metrics over several batches, as one batch of all their samples would give it: sums over the elements
 * that each is averaged over, divided by their number. A mean of batch means would give too much weight to batches with few valid
 * steps.
 *
 * @example
 * ```ts
 * const mean = new LossMean();
 * for (const batch of batches) mean.add(policy.call(batch), batchSize);
 * mean.loss;
 * ```
 */
export class LossMean {
  readonly #loss: Sum = { total: 0, count: 0 };
  readonly #metrics = new Map<string, Sum>();
  #weights: Record<string, number> | null = null;
  #batches = 0;

  /**
   * Adds a batch; reads its numbers from the device.
   *
   * @param samples of the batch: the weight of an output without a `count`
   */
  add({ loss, metrics, count, parts }: PolicyOutput, samples: number): void {
    const counted = numberOf(count ?? samples);
    this.#batches++;
    add(this.#loss, numberOf(loss), counted);
    for (const [name, value] of Object.entries(metrics)) {
      add(
        this.#sum(name),
        numberOf(value),
        parts?.[name] === undefined ? counted : numberOf(parts[name].count),
      );
    }
    if (parts !== undefined)
      this.#weights = Object.fromEntries(Object.entries(parts).map(([name, { weight }]) => [name, weight]));
  }

  /** Adds the sums and counts of another mean. */
  merge(other: LossMean): void {
    this.#batches += other.#batches;
    this.#collect(other.toJSON());
  }

  /** Restores the state returned by {@link toJSON}. */
  static fromJSON(state: LossMeanState): LossMean {
    const mean = new LossMean();
    mean.#batches = state.batches;
    mean.#collect(state);
    return mean;
  }

  #collect({ loss, metrics, weights }: LossMeanState): void {
    for (const [sum, more] of [
      [this.#loss, loss] as const,
      ...Object.entries(metrics).map(([name, more]) => [this.#sum(name), more] as const),
    ]) {
      sum.total += more.total;
      sum.count += more.count;
    }
    this.#weights = weights ?? this.#weights;
  }

  #sum(name: string): Sum {
    const sum = this.#metrics.get(name) ?? { total: 0, count: 0 };
    this.#metrics.set(name, sum);
    return sum;
  }

  /** Mean loss; 0 if nothing was counted. */
  get loss(): number {
    // A single batch gives exactly the loss that it reported.
    if (this.#weights === null || this.#batches === 1) return meanOf(this.#loss);
    const { metrics } = this;
    return Object.entries(this.#weights).reduce(
      (sum, [name, weight]) => sum + weight * (metrics[name] ?? 0),
      0,
    );
  }

  /** Mean of each metric over the batches that reported it. */
  get metrics(): Record<string, number> {
    return Object.fromEntries([...this.#metrics].map(([name, sum]) => [name, meanOf(sum)]));
  }

  /** Number of elements that the loss is averaged over. */
  get count(): number {
    return this.#loss.count;
  }

  /** Everything it holds, as plain JSON. */
  toJSON(): LossMeanState {
    return {
      batches: this.#batches,
      loss: this.#loss,
      metrics: Object.fromEntries(this.#metrics),
      weights: this.#weights,
    };
  }
}

// A batch without valid elements may report 0 / 0.
function add(sum: Sum, mean: number, count: number): void {
  if (count === 0) return;
  sum.total += mean * count;
  sum.count += count;
}

function meanOf({ total, count }: Sum): number {
  return count === 0 ? 0 : total / count;
}

function numberOf(value: Tensor | number): number {
  return typeof value === 'number' ? value : Number(value.item());
}
