import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { CraftError } from '@craft-ft/torch/errors';
import { EnvironmentHost } from './host.js';
import type { HostArguments, HostMethod, HostReply, HostRequest, HostResult } from './messages.js';

interface Waiting {
  worker: number;
  resolve(value: unknown): void;
  reject(error: CraftError): void;
}

/** Threads that run environments. A thread that dies fails the calls it had, never leaves them waiting. */
export class EnvironmentThreads {
  readonly #own: EnvironmentHost | null;
  readonly #workers: Worker[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #failed: CraftError | null = null;
  #closed = false;

  /** @param count worker threads; 0: everything in the calling thread. Default: one per core */
  constructor(count: number = availableParallelism()) {
    this.#own = count === 0 ? new EnvironmentHost() : null;
    for (let i = 0; i < count; i++) {
      // Without the flags of the process: some, as --input-type, are refused by a worker.
      const worker = new Worker(new URL('./environment-worker.js', import.meta.url), { execArgv: [] });
      worker.on('message', (reply: HostReply) => this.#settle(reply));
      worker.on('error', (error) => this.#fail(i, error instanceof Error ? error.message : String(error)));
      worker.on('exit', (code) => this.#fail(i, `it ended with code ${code}`));
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Threads that calls can be sent to; 1 where all is done in the calling thread. */
  get count(): number {
    return Math.max(1, this.#workers.length);
  }

  /** @throws CraftError as the method; `ENV_WORKER` when the thread died, `ENV_CLOSED` */
  async call<M extends HostMethod>(
    thread: number,
    method: M,
    ...args: HostArguments<M>
  ): Promise<HostResult<M>> {
    if (this.#failed !== null) throw this.#failed;
    if (this.#own !== null) {
      const own = this.#own[method] as (
        ...values: HostArguments<M>
      ) => HostResult<M> | Promise<HostResult<M>>;
      return own.apply(this.#own, args);
    }
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { worker: thread, resolve: resolve as (value: unknown) => void, reject });
      this.#workers[thread]!.ref();
      this.#workers[thread]!.postMessage({ id, method, args } satisfies HostRequest);
    });
  }

  #settle({ id, value, error }: HostReply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const busy = [...this.#waiting.values()].some(({ worker }) => worker === waiting.worker);
    if (!busy) this.#workers[waiting.worker]!.unref();
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new CraftError(error.code, error.message));
  }

  #fail(thread: number, reason: string): void {
    if (this.#closed) return;
    const [line = ''] = reason.split('\n');
    this.#failed ??= new CraftError(
      'ENV_WORKER',
      `a thread that runs environments died: ${line}; try fewer workers`,
    );
    this.#reject(this.#failed, (worker) => worker === thread);
  }

  #reject(error: CraftError, which: (worker: number) => boolean): void {
    for (const [id, waiting] of this.#waiting) {
      if (!which(waiting.worker)) continue;
      this.#waiting.delete(id);
      waiting.reject(error);
    }
  }

  /** Ends the threads; calls that are not done fail. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#failed ??= new CraftError('ENV_CLOSED', 'the environments are closed');
    this.#own?.close();
    // While a thread ends, Node does not always count it as a reason to wait, and the process would end here.
    const alive = setInterval(() => {}, 1000);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    clearInterval(alive);
    this.#reject(this.#failed, () => true);
  }
}
