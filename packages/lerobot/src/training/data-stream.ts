import { fromTypedArray } from '@craft-ft/torch';
import type { Batch } from '../datasets/batch.js';
import type { LeRobotDataset } from '../datasets/dataset.js';
import type { FrameSampler } from '../datasets/samplers.js';
import type { TensorBatch } from '../processors/step.js';

/** A batch's columns as tensors over the same memory. */
export function toTensors(batch: Batch): TensorBatch {
  return Object.fromEntries(
    Object.entries(batch.columns).map(([key, { data, shape, dtype }]) => [
      key,
      fromTypedArray(data, shape, dtype),
    ]),
  );
}

/**
 * Endless batches of a dataset, ready for the policy. The batch of a step is a function of the step alone, so a run resumes
 * anywhere and two streams never disturb each other.
 */
export class DataStream {
  constructor(
    readonly dataset: LeRobotDataset,
    readonly sampler: FrameSampler,
    readonly batchSize: number,
    private readonly preprocess: (batch: TensorBatch) => TensorBatch,
  ) {}

  /** The batch of step `step`, counted from 0; its tensors belong to the current scope. */
  batch(step: number): TensorBatch {
    return this.preprocess(toTensors(this.dataset.batch(this.sampler.batchIndices(step, this.batchSize))));
  }

  /** Epochs seen after `steps` steps. */
  epochs(steps: number): number {
    return (steps * this.batchSize) / this.sampler.length;
  }
}
