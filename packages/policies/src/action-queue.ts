import type { Tensor } from '@craft-ft/torch';

/** Returns the actions of a predicted chunk one by one and asks for the next chunk when they are used up. */
export class ActionQueue {
  /** The chunk being executed, `[B, chunk, a]`, and how many of its steps are done. */
  #current: { chunk: Tensor; done: number } | null = null;

  /** @param steps of a chunk that are executed */
  constructor(readonly steps: number) {}

  /** @param predict the next chunk, `[B, chunk, a]` with at least `steps` steps */
  next(predict: () => Tensor): Tensor {
    if (this.#current === null || this.#current.done === this.steps) {
      this.reset();
      this.#current = { chunk: predict().narrow(1, 0, this.steps).keep(), done: 0 };
    }
    return this.#current.chunk.select(1, this.#current.done++).clone();
  }

  /** Steps of the chunk that remain; at 0, `next` predicts. */
  get left(): number {
    return this.#current === null ? 0 : this.steps - this.#current.done;
  }

  /** Drops the chunk. */
  reset(): void {
    this.#current?.chunk.dispose();
    this.#current = null;
  }
}
