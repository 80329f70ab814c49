import { z } from 'zod';

/** Steps that the task loss at the start and at the end of a run is averaged over. */
const WINDOW = 16;

const stateSchema = z.strictObject({ first: z.array(z.number()), last: z.array(z.number()) });

/** The task loss of the first and of the latest steps of a run: what has been learnt, without an evaluation. */
export class TaskLosses {
  #first: number[] = [];
  #last: number[] = [];

  add(loss: number): void {
    if (this.#first.length < WINDOW) this.#first.push(loss);
    this.#last = [...this.#last.slice(1 - WINDOW), loss];
  }

  /** Mean of the first steps; null before the first. */
  get before(): number | null {
    return mean(this.#first);
  }

  /** Mean of the latest steps. */
  get now(): number | null {
    return mean(this.#last);
  }

  toJSON(): z.infer<typeof stateSchema> {
    return { first: this.#first, last: this.#last };
  }

  /** @returns null where `state` is none */
  static fromJSON(state: unknown): TaskLosses | null {
    const parsed = stateSchema.safeParse(state);
    if (!parsed.success) return null;
    const losses = new TaskLosses();
    [losses.#first, losses.#last] = [parsed.data.first, parsed.data.last];
    return losses;
  }
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
