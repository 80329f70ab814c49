import { Worker } from 'node:worker_threads';
import { CraftError } from '@craft-ft/torch/errors';
import { StopGate } from '../video/stop-gate.js';
import { FrameDecoder, shareOut } from './frame-decoder.js';
import type { DecoderSettings, FrameReply, FrameRequest, FrameTask } from './frame-task.js';

/** Tasks of one batch and camera, to be decoded into one buffer. */
export type FrameJob = Omit<FrameRequest, 'id'>;

interface Waiting {
  resolve(): void;
  reject(error: CraftError): void;
  worker: number;
}

/**
 * Decodes frames in worker threads (or, with none, in this one). A job is shared out to all workers; which worker does what changes
 * nothing in the result. A worker that fails or dies fails the jobs it had, never leaves them waiting.
 */
export class FrameWorkers {
  readonly #workers: Worker[] = [];
  readonly #load: number[] = [];
  readonly #waiting = new Map<number, Waiting>();
  readonly #own: FrameDecoder | null;
  readonly #gate = new StopGate();
  // Ending the process while a worker is inside FFmpeg would abort it.
  readonly #onExit = () => void this.#gate.close();
  #next = 0;
  #failed: CraftError | null = null;
  #closed = false;

  /**
   * @param count worker threads; 0 decodes in the calling thread
   * @param entry what a worker runs. Default: the decoder
   */
  constructor(
    count: number,
    settings: DecoderSettings,
    entry: URL = new URL('./frame-worker.js', import.meta.url),
  ) {
    this.#own = count === 0 ? new FrameDecoder(settings) : null;
    if (count > 0) process.on('exit', this.#onExit);
    for (let i = 0; i < count; i++) this.#start(i, entry, { ...settings, gate: this.#gate.memory });
  }

  #start(index: number, entry: URL, settings: DecoderSettings): void {
    // Without the flags of the process: some, as --input-type, are refused by a worker.
    const worker = new Worker(entry, { workerData: settings, execArgv: [] });
    worker.on('message', (reply: FrameReply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(index, error instanceof Error ? error.message : String(error)));
    // Workers never end of themselves, whatever the code.
    worker.on('exit', (code) => this.#fail(index, `it ended with code ${code}`));
    // Idle workers must not keep the process alive.
    worker.unref();
    this.#workers.push(worker);
    this.#load.push(0);
  }

  /** Resolves when every frame is in the job's buffer. @throws CraftError naming file and time, `LOADER_WORKER`, `LOADER_CLOSED` */
  async decode(job: FrameJob): Promise<void> {
    if (this.#failed !== null) throw this.#failed;
    if (this.#own !== null) return this.#own.run({ ...job, id: 0 });
    const shares = shareOut(job.tasks, this.#workers.length);
    await Promise.all(shares.map((tasks) => this.#send(job, tasks)));
  }

  #send(job: FrameJob, tasks: FrameTask[]): Promise<void> {
    const worker = this.#load.indexOf(Math.min(...this.#load));
    const id = this.#next++;
    this.#load[worker]!++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, worker });
      this.#workers[worker]!.ref();
      this.#workers[worker]!.postMessage({ ...job, tasks, id } satisfies FrameRequest);
    });
  }

  #settle({ id, error }: FrameReply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (--this.#load[waiting.worker]! === 0) this.#workers[waiting.worker]!.unref();
    if (error === undefined) waiting.resolve();
    else waiting.reject(new CraftError(error.code, error.message));
  }

  #fail(worker: number, reason: string): void {
    this.#failed ??= new CraftError(
      'LOADER_WORKER',
      `a worker that decodes camera frames died: ${reason.split('\n')[0]}; try fewer by --num_workers`,
    );
    this.#reject(this.#failed, (waiting) => waiting.worker === worker);
  }

  #reject(error: CraftError, which: (waiting: Waiting) => boolean): void {
    for (const [id, waiting] of this.#waiting) {
      if (!which(waiting)) continue;
      this.#waiting.delete(id);
      waiting.reject(error);
    }
  }

  /** Ends the threads, after the frames they are at; jobs not done by then fail. */
  async close(): Promise<void> {
    this.#failed ??= new CraftError('LOADER_CLOSED', 'the loader of camera frames is closed');
    this.#own?.close();
    if (this.#closed || this.#workers.length === 0) return;
    this.#closed = true;
    process.off('exit', this.#onExit);
    this.#gate.close();
    for (const worker of this.#workers) worker.removeAllListeners('exit');
    // While a thread ends, Node does not always count it as a reason to wait, and the process would end here (code 13).
    const alive = setInterval(() => {}, 1000);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    clearInterval(alive);
    this.#reject(this.#failed, () => true);
  }
}
