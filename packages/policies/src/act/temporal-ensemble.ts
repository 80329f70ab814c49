import { cat, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';

/**
 * Averages what overlapping chunks predict for the same moment, with weight exp(−coefficient · i) for the i-th oldest prediction
 * (Zhao et al., 2023, algorithm 2; LeRobot's `ACTTemporalEnsembler`). A positive coefficient favours old predictions.
 *
 * Kept as a running average: memory does not grow.
 */
export class TemporalEnsemble {
  readonly #weights: readonly number[];
  /** `sums[n]`: sum of the first n + 1 weights. */
  readonly #sums: readonly number[];
  /** Averages for the moments to come, `[B, chunk - 1, a]`. */
  #averages: Tensor | null = null;
  /** How many predictions each of them is made of. */
  #counts: number[] = [];

  constructor(coefficient: number, chunkSize: number) {
    this.#weights = Array.from({ length: chunkSize }, (_, i) => Math.exp(-coefficient * i));
    let sum = 0;
    this.#sums = this.#weights.map((weight) => {
      sum += weight;
      return sum;
    });
  }

  /** Forgets all predictions. */
  reset(): void {
    this.#averages?.dispose();
    this.#averages = null;
    this.#counts = [];
  }

  /**
   * Takes the chunk predicted at this step and gives the action for it.
   *
   * @param chunk `[B, chunk, a]`
   * @returns `[B, a]`
   */
  update(chunk: Tensor): Tensor {
    return scope(() =>
      noGrad(() => {
        const merged = this.#merge(chunk);
        const [, ...later] = this.#countsWith(chunk.size(1));
        this.#averages?.dispose();
        this.#averages = merged.narrow(1, 1, later.length).clone().keep();
        this.#counts = later;
        return merged.select(1, 0).clone();
      }),
    );
  }

  /** The chunk averaged with what is known about the same moments; its last step is new. */
  #merge(chunk: Tensor): Tensor {
    if (this.#averages === null) return chunk;
    const known = this.#counts.length;
    const column = (values: number[]) =>
      tensor(values, { device: chunk.device, dtype: chunk.dtype, shape: [values.length, 1] });
    const before = column(this.#counts.map((count) => this.#sums[count - 1]! / this.#sums[count]!));
    const share = column(this.#counts.map((count) => this.#weights[count]! / this.#sums[count]!));
    const averages = this.#averages.mul(before).add(chunk.narrow(1, 0, known).mul(share));
    return cat([averages, chunk.narrow(1, known, 1)], 1);
  }

  #countsWith(chunkSize: number): number[] {
    if (this.#averages === null) return Array<number>(chunkSize).fill(1);
    return [...this.#counts.map((count) => count + 1), 1];
  }
}
