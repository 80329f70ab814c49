import type { TensorBatch } from '@craft-ft/policies';
import { scope } from '@craft-ft/torch';
import type { TrainingData } from './data-stream.js';

/** A batch that is made when it is asked for, in the scope of the caller. */
export type LazyBatch = () => TensorBatch;

/**
 * Batches in groups of `count`, one group per optimiser step (gradient accumulation): batch i of step s is `data.batch(s·count + i)`,
 * so that a run resumes anywhere. Groups of more than one are held in memory until the next is asked for, because only one batch of a
 * stream can be ready at a time.
 */
export class MicroBatches {
  #held: { step: number; batches: TensorBatch[] } | null = null;

  /** @param count micro-batches per step, at least 1 */
  constructor(
    readonly data: TrainingData,
    readonly count: number,
  ) {}

  /** Waits for the batches of a step. @param last last step that will be asked for, beyond which nothing is prepared */
  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    const { data, count } = this;
    if (count === 1) return data.ready(step, last);
    if (this.#held?.step === step) return;
    this.#release();
    const batches: TensorBatch[] = [];
    for (let index = step * count; index < (step + 1) * count; index++) {
      await data.ready(index, (last + 1) * count - 1);
      batches.push(scope(() => data.batch(index)));
    }
    this.#held = { step, batches };
  }

  /** The batches of a step, which `ready` was called for. */
  batches(step: number): LazyBatch[] {
    if (this.count === 1) return [() => this.data.batch(step)];
    const held = this.#held;
    if (held?.step !== step)
      throw new Error(`internal: the micro-batches of step ${step} were not waited for`);
    return held.batches.map((batch) => () => batch);
  }

  #release(): void {
    for (const batch of this.#held?.batches ?? [])
      for (const tensor of Object.values(batch)) tensor.dispose();
    this.#held = null;
  }
}
