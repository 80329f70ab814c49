import { fromTypedArray } from '@craft-ft/torch';
import type { Batch } from '../datasets/batch.js';
import type { LeRobotDataset } from '../datasets/dataset.js';
import type { SubsetIndex } from '../datasets/indices.js';
import type { FrameSampler } from '../datasets/samplers.js';
import type { FrameLoader, LoadedFrames } from '../loader/index.js';
import type { TensorBatch } from '../processors/step.js';
import type { CameraBatches } from './camera-batches.js';

/** A batch's columns as tensors over the same memory. */
export function toTensors(batch: Batch): TensorBatch {
  return Object.fromEntries(
    Object.entries(batch.columns).map(([key, { data, shape, dtype }]) => [
      key,
      fromTypedArray(data, shape, dtype),
    ]),
  );
}

/** The camera side of a stream. */
export interface StreamCameras {
  loader: FrameLoader;
  batches: CameraBatches;
  /** Batches decoded ahead of the one in use; bounds the memory. Default 2. */
  prefetch?: number;
}

type Frames = Record<string, LoadedFrames>;

/**
 * Endless batches of a dataset, ready for the policy. The batch of a step is a function of the step alone, so a run resumes
 * anywhere and two streams never disturb each other. With cameras, `ready(step)` must have resolved before `batch(step)`.
 */
export class DataStream {
  readonly #ahead = new Map<number, Promise<Frames>>();
  #current: { step: number; frames: Frames } | null = null;

  constructor(
    readonly dataset: LeRobotDataset,
    readonly sampler: FrameSampler,
    readonly batchSize: number,
    private readonly preprocess: (batch: TensorBatch) => TensorBatch,
    private readonly cameras: StreamCameras | null = null,
  ) {}

  /**
   * Waits for the frames of a step and has the next ones decoded meanwhile. Nothing to wait for without cameras.
   *
   * @param last last step of the run, beyond which nothing is decoded
   * @throws CraftError naming the file and time of a frame that cannot be had
   */
  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.cameras === null || this.#current?.step === step) return;
    const until = Math.min(step + (this.cameras.prefetch ?? 2), last);
    for (const known of this.#ahead.keys()) if (known < step || known > until) this.#ahead.delete(known);
    for (let next = step; next <= until; next++) this.#request(next);
    const frames = await this.#ahead.get(step)!;
    this.#ahead.delete(step);
    this.#current = { step, frames };
  }

  #request(step: number): void {
    if (this.#ahead.has(step)) return;
    const frames = this.cameras!.loader.load(this.#rows(step));
    // Its error is thrown where the step is waited for.
    frames.catch(() => {});
    this.#ahead.set(step, frames);
  }

  #rows(step: number): SubsetIndex[] {
    return this.sampler.batchIndices(step, this.batchSize);
  }

  /** The batch of step `step`, counted from 0; its tensors belong to the current scope. */
  batch(step: number): TensorBatch {
    const columns = toTensors(this.dataset.batch(this.#rows(step)));
    if (this.cameras === null) return this.preprocess(columns);
    if (this.#current?.step !== step)
      throw new Error(`internal: the frames of step ${step} were not waited for`);
    const samples = Array.from({ length: this.batchSize }, (_, i) => step * this.batchSize + i);
    return this.preprocess({ ...columns, ...this.cameras.batches.tensors(this.#current.frames, samples) });
  }

  /** Epochs seen after `steps` steps. */
  epochs(steps: number): number {
    return (steps * this.batchSize) / this.sampler.length;
  }

  /** Ends the worker threads. */
  async close(): Promise<void> {
    await this.cameras?.loader.close();
  }
}
