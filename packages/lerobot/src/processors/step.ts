import type { Tensor } from '@craft-ft/torch';
import type { PlainObject } from '../configs/plain.js';

/** Tensors by key: what a policy and its processors work on. */
export type TensorBatch = Record<string, Tensor>;

/** One stage between a dataset (or a robot) and a policy, as LeRobot's `ProcessorStep`. */
export interface ProcessorStep {
  /** LeRobot's name for this kind of step; part of file names. */
  readonly registryName: string;
  /** A new batch; `batch` itself is not changed. Untouched tensors are passed on as they are. */
  process(batch: TensorBatch): TensorBatch;
  /** What the step's entry in the pipeline's JSON file says under `config`. */
  config(): PlainObject;
  /** Tensors for the step's state file; null where it has none. */
  state(): ReadonlyMap<string, Tensor> | null;
}
