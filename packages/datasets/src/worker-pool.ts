import { parentPort, Worker } from 'node:worker_threads';
import { CraftError } from '@craft-ft/torch/errors';

/** What a thread does for others: methods whose arguments and results can be sent between threads. */
interface ThreadHost {
  /** Called when the pool is closed, if the host lives in the calling thread. */
  close(): void;
}

/** Names of the methods of a host that can be called from another thread. */
type HostMethod<H> = Exclude<
  { [M in keyof H]: H[M] extends (...args: never[]) => unknown ? M : never }[keyof H],
  'close'
> &
  string;
type HostArguments<H, M extends keyof H> = H[M] extends (...args: infer A) => unknown ? A : never;
type HostResult<H, M extends keyof H> = H[M] extends (...args: never[]) => infer R ? Awaited<R> : never;

interface Request {
  id: number;
  method: string;
  args: unknown[];
}

interface Reply {
  id: number;
  value?: unknown;
  error?: { code: string; message: string };
}

interface Waiting {
  thread: number;
  resolve(value: unknown): void;
  reject(error: CraftError): void;
}

/** Options of a {@link WorkerPool}. */
interface WorkerPoolOptions<H extends ThreadHost> {
  /** Worker threads; 0: everything is done in the calling thread. */
  count: number;
  /** Module that a thread runs; it calls {@link serveCalls}. */
  entry: URL;
  /** Given to every thread as its `workerData`. */
  workerData?: unknown;
  /** Creates the host that is used when there are no threads. */
  host: () => H;
  /** Closed before threads are ended. */
  gate?: StopGate;
  /** The error of calls to a thread that died, and of all calls after that. */
  died: (reason: string) => CraftError;
  /** The error of calls that are unfinished when the pool is closed, and of all calls after that. */
  closed: () => CraftError;
}

/**
 * Threads that answer calls, each with its own host. The caller chooses the thread, because hosts may have state. If a thread dies, its
 * calls fail rather than wait forever. Idle threads do not keep the process alive.
 */
export class WorkerPool<H extends ThreadHost> {
  readonly #own: H | null;
  readonly #workers: Worker[] = [];
  /** Calls in progress, by thread. */
  readonly #load: number[] = [];
  readonly #waiting = new Map<number, Waiting>();
  readonly #options: WorkerPoolOptions<H>;
  // Ending the process while a thread is inside native code could abort it.
  readonly #onExit = (): void => void this.#options.gate?.close();
  #next = 0;
  #failed: CraftError | null = null;
  #closed = false;

  constructor(options: WorkerPoolOptions<H>) {
    this.#options = options;
    this.#own = options.count === 0 ? options.host() : null;
    for (let thread = 0; thread < options.count; thread++) this.#start(thread);
    if (this.#workers.length > 0) process.on('exit', this.#onExit);
  }

  #start(thread: number): void {
    const { entry, workerData } = this.#options;
    // Without the process's flags: workers reject some of them, such as --input-type.
    const worker = new Worker(entry, { workerData, execArgv: [] });
    worker.on('message', (reply: Reply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(thread, error instanceof Error ? error.message : String(error)));
    // Workers never exit on their own, whatever the code.
    worker.on('exit', (code) => this.#fail(thread, `it ended with code ${code}`));
    worker.unref();
    this.#workers.push(worker);
    this.#load.push(0);
  }

  /** Number of threads that calls can be sent to; 1 if everything is done in the calling thread. */
  get count(): number {
    return Math.max(1, this.#workers.length);
  }

  /** The thread with the fewest calls in progress. */
  get idlest(): number {
    return Math.max(0, this.#load.indexOf(Math.min(...this.#load)));
  }

  /** Calls a method of a thread's host. @throws CraftError as the method, or that of a dead thread or a closed pool. */
  async call<M extends HostMethod<H>>(
    thread: number,
    method: M,
    ...args: HostArguments<H, M>
  ): Promise<HostResult<H, M>> {
    if (this.#failed !== null) throw this.#failed;
    if (this.#own !== null) return invoke(this.#own, method, args) as HostResult<H, M>;
    const id = this.#next++;
    this.#load[thread]!++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { thread, resolve: resolve as (value: unknown) => void, reject });
      this.#workers[thread]!.ref();
      this.#workers[thread]!.postMessage({ id, method, args } satisfies Request);
    });
  }

  #settle({ id, value, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (--this.#load[waiting.thread]! === 0) this.#workers[waiting.thread]!.unref();
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new CraftError(error.code, error.message));
  }

  #fail(thread: number, reason: string): void {
    if (this.#closed) return;
    this.#failed ??= this.#options.died(reason.split('\n')[0]!);
    this.#reject(this.#failed, (waiting) => waiting.thread === thread);
  }

  #reject(error: CraftError, which: (waiting: Waiting) => boolean): void {
    for (const [id, waiting] of this.#waiting) {
      if (!which(waiting)) continue;
      this.#waiting.delete(id);
      waiting.reject(error);
    }
  }

  /** Ends the threads after the work behind their gate; unfinished calls fail. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#failed ??= this.#options.closed();
    this.#own?.close();
    process.off('exit', this.#onExit);
    this.#options.gate?.close();
    // While a thread is being terminated, Node does not always count it as a reason to wait, and the process would exit here (code 13).
    const alive = setInterval(() => {}, 1000);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    clearInterval(alive);
    this.#reject(this.#failed, () => true);
  }
}

/**
 * Answers a pool's calls in a worker thread.
 *
 * @param unexpected Code for errors that are not CraftErrors.
 */
export function serveCalls(host: object, unexpected: string): void {
  parentPort?.on('message', async ({ id, method, args }: Request) => {
    let reply: Reply;
    try {
      reply = { id, value: await invoke(host, method, args) };
    } catch (error) {
      const code = error instanceof CraftError ? error.code : unexpected;
      reply = { id, error: { code, message: error instanceof Error ? error.message : String(error) } };
    }
    parentPort?.postMessage(reply);
  });
}

function invoke(host: object, method: string, args: readonly unknown[]): unknown {
  return (host as Record<string, (...values: readonly unknown[]) => unknown>)[method]!(...args);
}

/** Cells of a StopGate's memory. */
const CLOSED = 0;
const BUSY = 1;

/**
 * Lets a thread be terminated while it works with FFmpeg. Ending a worker in the middle of a call into node-av (`terminate()`, or the end
 * of the process) aborts the whole process; so workers make such calls behind a gate, which is closed before they are terminated.
 *
 * @example
 * ```ts
 * // main thread                                      // worker
 * const gate = new StopGate();                        const pool = new VideoPool({ gate: new StopGate(workerData.gate) });
 * new WorkerPool({ gate, workerData: { gate: gate.memory }, … });
 * ```
 */
export class StopGate {
  /** Passed to the workers; one gate serves any number of them. */
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  /** Runs `work`. Once the gate is closed nothing runs any more: the thread sleeps until it is terminated. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    Atomics.add(this.#cells, BUSY, 1);
    if (Atomics.load(this.#cells, CLOSED) === 1) {
      this.#leave();
      for (;;) Atomics.wait(this.#cells, CLOSED, 1);
    }
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    Atomics.sub(this.#cells, BUSY, 1);
    Atomics.notify(this.#cells, BUSY);
  }

  /**
   * Closes the gate for good and blocks until no work is running behind it. Must not be called by a thread that works there.
   *
   * @param timeoutMs Longest wait, milliseconds. Default 10,000.
   * @returns Whether all have stopped.
   */
  close(timeoutMs = 10_000): boolean {
    Atomics.store(this.#cells, CLOSED, 1);
    const end = performance.now() + timeoutMs;
    for (;;) {
      const busy = Atomics.load(this.#cells, BUSY);
      const left = end - performance.now();
      if (busy === 0 || left <= 0) return busy === 0;
      Atomics.wait(this.#cells, BUSY, busy, left);
    }
  }
}
