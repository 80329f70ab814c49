import type { Batch, FrameLoader, FrameSampler, LeRobotDataset, LoadedFrames } from '@craft-ft/datasets';
import type { TensorBatch, Texts } from '@craft-ft/policies';
import { fromTypedArray } from '@craft-ft/torch';
import type { CameraBatches } from './camera-batches.js';
import { LookAhead } from './look-ahead.js';

/** A batch's columns as tensors over the same memory. */
export function toTensors(batch: Batch): TensorBatch {
  return Object.fromEntries(
    Object.entries(batch.columns).map(([key, { data, shape, dtype }]) => [
      key,
      fromTypedArray(data, shape, dtype),
    ]),
  );
}

/** The instructions of a batch, for the preprocessor. */
export function toTexts(batch: Batch): Texts {
  return { task: batch.tasks };
}

/** From a dataset's batch to the policy's; the texts are the samples' instructions. */
export type Preprocess = (batch: TensorBatch, texts: Texts) => TensorBatch;

/** The camera side of a stream. */
export interface StreamCameras {
  loader: FrameLoader;
  batches: CameraBatches;
  /** Batches decoded ahead of the one in use; bounds the memory. Default 2. */
  prefetch?: number;
}

/** Batches that a run trains on, step by step. */
export interface TrainingData {
  readonly batchSize: number;
  /** Frames in one epoch. */
  readonly framesPerEpoch: number;
  /**
   * Waits for what the batch of a step needs, and has the next ones prepared meanwhile.
   *
   * @param last last step of the run, beyond which nothing is prepared
   * @throws CraftError naming the file and time of a frame that cannot be had
   */
  ready(step: number, last?: number): Promise<void>;
  /** The batch of step `step`, counted from 0, which `ready` was called for; its tensors belong to the current scope. */
  batch(step: number): TensorBatch;
  /** Ends the worker threads. */
  close(): Promise<void>;
}

/** A batch with its camera frames. */
export interface PreparedBatch {
  batch: Batch;
  frames: Record<string, LoadedFrames>;
}

/** Numbers and camera frames of a step as the policy takes them. */
export function toPolicyBatch(
  { batch, frames }: PreparedBatch,
  step: number,
  cameras: StreamCameras | null,
): TensorBatch {
  const columns = toTensors(batch);
  if (cameras === null) return columns;
  const size = batch.tasks.length;
  const samples = Array.from({ length: size }, (_, i) => step * size + i);
  return { ...columns, ...cameras.batches.tensors(frames, samples) };
}

/** Batches decoded ahead where nothing else is said. */
export const PREFETCH = 2;

/**
 * Endless batches of a dataset (or a mixture), ready for the policy. The batch of a step is a function of the step alone, so a
 * run resumes anywhere and two streams never disturb each other. With cameras, `ready(step)` must have resolved before `batch(step)`.
 */
export class DataStream implements TrainingData {
  readonly #ahead = new LookAhead<PreparedBatch>(({ frames }) => this.cameras?.loader.release(frames));

  constructor(
    readonly dataset: Pick<LeRobotDataset, 'batch'>,
    readonly sampler: FrameSampler,
    readonly batchSize: number,
    private readonly preprocess: Preprocess,
    private readonly cameras: StreamCameras | null = null,
  ) {}

  get framesPerEpoch(): number {
    return this.sampler.length;
  }

  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.cameras === null || this.#ahead.isCurrent(step)) return;
    const until = Math.min(step + (this.cameras.prefetch ?? PREFETCH), last);
    this.#ahead.keep(step, until);
    for (let next = step; next <= until; next++) this.#request(next, this.cameras.loader);
    await this.#ahead.advance(step);
  }

  #request(step: number, loader: FrameLoader): void {
    if (this.#ahead.has(step)) return;
    const batch = this.#numbers(step);
    this.#ahead.add(
      step,
      loader.loadBatch(batch).then((frames) => ({ batch, frames })),
    );
  }

  #numbers(step: number): Batch {
    return this.dataset.batch(this.sampler.batchIndices(step, this.batchSize));
  }

  batch(step: number): TensorBatch {
    if (this.cameras === null) {
      const numbers = this.#numbers(step);
      return this.preprocess(toTensors(numbers), toTexts(numbers));
    }
    const prepared = this.#ahead.current(step);
    return this.preprocess(toPolicyBatch(prepared, step, this.cameras), toTexts(prepared.batch));
  }

  /** Epochs seen after `steps` steps. */
  epochs(steps: number): number {
    return (steps * this.batchSize) / this.sampler.length;
  }

  async close(): Promise<void> {
    await this.cameras?.loader.close();
  }
}
