/** What is being prepared for coming steps, and what was prepared for the current one. */
export class LookAhead<T> {
  readonly #ahead = new Map<number, Promise<T>>();
  #current: { step: number; prepared: T } | null = null;

  /** @param release called with what was current once its successor is there */
  constructor(private readonly release: (prepared: T) => void) {}

  has(step: number): boolean {
    return this.#ahead.has(step);
  }

  add(step: number, prepared: Promise<T>): void {
    // Its error is thrown where the step is waited for.
    prepared.catch(() => {});
    this.#ahead.set(step, prepared);
  }

  /** Forgets what is prepared for steps before `first` or after `last`. */
  keep(first: number, last: number): void {
    for (const step of this.#ahead.keys()) if (step < first || step > last) this.#ahead.delete(step);
  }

  clear(): void {
    this.#ahead.clear();
  }

  isCurrent(step: number): boolean {
    return this.#current?.step === step;
  }

  /** Waits for a step that was added, and makes it the current one. */
  async advance(step: number): Promise<void> {
    const prepared = await this.#ahead.get(step)!;
    this.#ahead.delete(step);
    if (this.#current !== null) this.release(this.#current.prepared);
    this.#current = { step, prepared };
  }

  /** What was prepared for the current step. */
  current(step: number): T {
    if (this.#current?.step !== step) throw new Error(`internal: data of step ${step} were not waited for`);
    return this.#current.prepared;
  }
}
