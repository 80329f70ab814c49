import { availableParallelism } from 'node:os';
import { CraftError } from '@craft-ft/torch/errors';
import type { EnvironmentInfo, Observation, StepOptions, StepResult } from './environment.js';
import type { EnvironmentSpec } from './make-environment.js';
import type { EnvironmentDescription } from './workers/host.js';
import { EnvironmentThreads } from './workers/pool.js';

export interface VectorEnvironmentOptions {
  /** Worker threads; 0: all in the calling thread. Default: one per core, at most one per environment. */
  workers?: number;
  /** Existing threads to use instead of new ones; they are then not closed. */
  threads?: EnvironmentThreads;
}

/**
 * Several environments of one kind, run in parallel in worker threads. What an environment does depends only on its seed and actions, not
 * on its neighbours or the number of threads.
 *
 * @example
 * ```ts
 * const envs = await VectorEnvironment.create({ task: 'lift' }, 16);
 * const starts = await envs.reset(Array.from({ length: 16 }, (_, i) => i));
 * const steps = await envs.step(starts.map(({ observation }) => act(observation)));
 * await envs.close();
 * ```
 */
export class VectorEnvironment {
  readonly description: EnvironmentDescription;
  readonly count: number;
  readonly #threads: EnvironmentThreads;
  readonly #owned: boolean;

  private constructor(
    description: EnvironmentDescription,
    count: number,
    threads: EnvironmentThreads,
    owned: boolean,
  ) {
    this.description = description;
    this.count = count;
    this.#threads = threads;
    this.#owned = owned;
  }

  /** @throws CraftError as `makeEnvironment`; `ENV_COUNT` */
  static async create(
    spec: EnvironmentSpec,
    count: number,
    options: VectorEnvironmentOptions = {},
  ): Promise<VectorEnvironment> {
    if (!Number.isInteger(count) || count < 1) {
      const message = `${spec.task}: the number of environments is ${count}; expected a whole number from 1 on`;
      throw new CraftError('ENV_COUNT', message);
    }
    const workers = Math.min(options.workers ?? availableParallelism(), count);
    const threads = options.threads ?? new EnvironmentThreads(workers);
    const owned = options.threads === undefined;
    try {
      const opened = Array.from({ length: count }, (_, slot) =>
        threads.call(slot % threads.count, 'open', slot, spec),
      );
      const [description] = await Promise.all(opened);
      return new VectorEnvironment(description!, count, threads, owned);
    } catch (error) {
      if (owned) await threads.close();
      throw error;
    }
  }

  /**
   * Begins an episode in the first `seeds.length` environments.
   *
   * @throws CraftError `ENV_SEED` for more seeds than environments, or a seed that is none
   */
  async reset(seeds: readonly number[]): Promise<{ observation: Observation; info: EnvironmentInfo }[]> {
    this.#requireList('ENV_SEED', 'seeds', seeds);
    const shares = this.#shares(seeds, (seed, slot) => [slot, seed] as const);
    const results = await this.#all(
      shares.map((share, thread) => () => this.#threads.call(thread, 'reset', share)),
    );
    return seeds.map(
      (_, slot) => results[slot % this.#threads.count]![Math.floor(slot / this.#threads.count)]!,
    );
  }

  /**
   * One step in every environment that has an action; null for the others (whose episode is over).
   *
   * @param options for all of them: `{ cameras: false }` saves rendering images that nobody looks at
   * @throws CraftError `ENV_ACTION` for more actions than environments, and as `Environment.step`
   */
  async step(
    actions: readonly (ArrayLike<number> | null)[],
    options: StepOptions = {},
  ): Promise<(StepResult | null)[]> {
    this.#requireList('ENV_ACTION', 'actions', actions);
    const shares = this.#shares(actions, (action, slot) =>
      action === null ? null : ([slot, action] as const),
    );
    const results = await this.#all(
      shares.map(
        (share, thread) => () =>
          share.length === 0 ? [] : this.#threads.call(thread, 'step', share, options),
      ),
    );
    const queues = results.map((steps) => [...steps]);
    return actions.map((action, slot) => (action === null ? null : queues[slot % queues.length]!.shift()!));
  }

  /** Images for human viewers of some environments, by their numbers. */
  async render(slots: readonly number[], width: number, height: number): Promise<Uint8Array[]> {
    const shares = Array.from({ length: this.#threads.count }, (_, thread) =>
      slots.filter((slot) => slot % this.#threads.count === thread),
    );
    const results = await this.#all(
      shares.map(
        (share, thread) => () =>
          share.length === 0 ? [] : this.#threads.call(thread, 'render', share, width, height),
      ),
    );
    const queues = results.map((pictures) => [...pictures]);
    return slots.map((slot) => queues[slot % queues.length]!.shift()!);
  }

  /** Frees the environments. Idempotent. */
  async close(): Promise<void> {
    if (this.#owned) await this.#threads.close();
  }

  #requireList(code: string, name: string, values: unknown): void {
    const found = Array.isArray(values) ? values.length : 'no array of';
    if (typeof found === 'number' && found <= this.count) return;
    throw new CraftError(
      code,
      `${this.description.task}: there are ${found} ${name} for ${this.count} environments; expected an array with one for each`,
    );
  }

  #shares<T, S>(values: readonly T[], of: (value: T, slot: number) => S | null): S[][] {
    const shares: S[][] = Array.from({ length: this.#threads.count }, () => []);
    values.forEach((value, slot) => {
      const entry = of(value, slot);
      if (entry !== null) shares[slot % shares.length]!.push(entry);
    });
    return shares;
  }

  /** Makes all calls at once; an error is thrown only after all of them have finished. */
  async #all<T>(calls: readonly (() => T | Promise<T>)[]): Promise<T[]> {
    const settled = await Promise.allSettled(calls.map(async (call) => call()));
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }
}
