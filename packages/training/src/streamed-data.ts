import type { Batch, StreamingDataset } from '@craft-ft/datasets';
import type { TensorBatch } from '@craft-ft/policies';
import {
  PREFETCH,
  type PreparedBatch,
  type Preprocess,
  type StreamCameras,
  type TrainingData,
  toPolicyBatch,
  toTexts,
} from './data-stream.js';
import { LookAhead } from './look-ahead.js';

/**
 * Batches of a dataset that is read file by file through a shuffle buffer. Steps must come in order; a run that begins elsewhere (on
 * resume) finds its place by arithmetic and gets the batches it would have had.
 */
export class StreamedData implements TrainingData {
  #batches: AsyncGenerator<Batch, never> | null = null;
  /** The step of the next batch that the generator gives. */
  #next = 0;
  readonly #ahead = new LookAhead<PreparedBatch>(({ frames }) => this.cameras?.loader.release(frames));

  constructor(
    readonly dataset: StreamingDataset,
    readonly batchSize: number,
    private readonly preprocess: Preprocess,
    private readonly cameras: StreamCameras | null = null,
  ) {}

  get framesPerEpoch(): number {
    return this.dataset.length;
  }

  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#ahead.isCurrent(step)) return;
    if (!this.#ahead.has(step)) this.#seek(step);
    const until = Math.min(step + (this.cameras?.prefetch ?? PREFETCH), last);
    while (this.#next <= until) this.#request(this.#next++);
    await this.#ahead.advance(step);
  }

  #seek(step: number): void {
    if (this.#batches !== null && this.#next === step) return;
    this.#ahead.clear();
    this.#batches = this.dataset.batches(this.batchSize, step);
    this.#next = step;
  }

  #request(step: number): void {
    // The generator answers its calls in their order.
    const prepared = this.#batches!.next().then(async ({ value: batch }): Promise<PreparedBatch> => {
      const frames = this.cameras === null ? {} : await this.cameras.loader.loadBatch(batch);
      return { batch, frames };
    });
    this.#ahead.add(step, prepared);
  }

  batch(step: number): TensorBatch {
    const prepared = this.#ahead.current(step);
    return this.preprocess(toPolicyBatch(prepared, step, this.cameras), toTexts(prepared.batch));
  }

  async close(): Promise<void> {
    await this.#batches?.return(undefined as never);
    await this.cameras?.loader.close();
  }
}
