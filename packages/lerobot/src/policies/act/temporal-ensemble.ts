import { cat, noGrad, scope, type Tensor } from '@craft-ft/torch';

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
        const last = chunk.size(1) - 1;
        this.#averages?.dispose();
        this.#averages = merged.narrow(1, 1, last).clone().keep();
        this.#counts = [...this.#counts.slice(1), ...(this.#counts.length === 0 ? Array(last).fill(1) : [1])];
        return merged.select(1, 0).clone();
      }),
    );
  }
}
