/**
 * Lets a thread be ended while it works with FFmpeg. Ending a worker in the middle of a call into node-av (`terminate()`,
 * or the end of the process) aborts the whole process; so workers work behind a gate, and who wants to end them closes it first.
 *
 * @example
 * ```ts
 * // main thread                                      // worker
 * const gate = new StopGate();                        const pool = new VideoPool({ gate: new StopGate(workerData.gate) });
 * new Worker(url, { workerData: { gate: gate.memory } });
 * process.on('exit', () => gate.close());
 * gate.close();
 * await worker.terminate();
 * ```
 */
export class StopGate {
  /** To be handed to workers; one gate serves any number of them. */
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  /** Runs `work`. Behind a closed gate nothing runs any more: the thread sleeps until it is ended. */
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
   * Closes the gate for good and waits, blocking, until nobody works behind it. Not for the threads that work there.
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

const CLOSED = 0;
const BUSY = 1;
