import { noGrad, type optim, scope, type Tensor } from '@craft-ft/torch';

/** Elements that change places at a time. */
const CHUNK = 1 << 20;

const name = (segment: number) => `segment.${segment}`;

/**
 * The trainable weights as they were before the first step: the teacher of a run that has anchors but no cache.
 *
 * A frozen copy of the whole policy would hold its frozen weights (a backbone under LoRA) a second time; this holds the trainable ones
 * only, and swaps them with the current ones, in place, while the teacher is asked.
 */
export class StartingWeights {
  readonly #parameters: optim.FlatParameters;
  readonly #saved: Tensor[];

  constructor(parameters: optim.FlatParameters) {
    this.#parameters = parameters;
    this.#saved = parameters.segments.map(({ data }) => noGrad(() => data.clone()).keep());
  }

  /** Runs `body` with the starting weights in place, without recording a graph; what it returns stays valid. */
  during<T>(body: () => T): T {
    this.#swap();
    try {
      return noGrad(body);
    } finally {
      this.#swap();
    }
  }

  #swap(): void {
    noGrad(() => {
      this.#parameters.segments.forEach(({ data }, i) => {
        const saved = this.#saved[i]!;
        for (let start = 0; start < data.numel; start += CHUNK) {
          scope(() => {
            const length = Math.min(CHUNK, data.numel - start);
            const [current, other] = [data.narrow(0, start, length), saved.narrow(0, start, length)];
            const held = current.clone();
            current.copy_(other);
            other.copy_(held);
          });
        }
      });
    });
  }

  /** For a checkpoint; the tensors are this object's own. */
  tensors(): Map<string, Tensor> {
    return new Map(this.#saved.map((saved, i) => [name(i), saved]));
  }

  /** Takes over what `tensors` gave. @returns whether it fits */
  restore(state: ReadonlyMap<string, Tensor>): boolean {
    const given = this.#saved.map((_, i) => state.get(name(i)));
    if (given.some((tensor, i) => tensor?.numel !== this.#saved[i]!.numel)) return false;
    noGrad(() => {
      this.#saved.forEach((saved, i) => {
        saved.copy_(given[i]!);
      });
    });
    return true;
  }
}
