import { scope, type Tensor } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Steps one after the other, as LeRobot's `PolicyProcessorPipeline`. */
export class ProcessorPipeline {
  constructor(
    /** Also the name of its file: `policy_preprocessor` or `policy_postprocessor`. */
    readonly name: string,
    readonly steps: readonly ProcessorStep[],
  ) {}

  /** Runs a batch through every step. Tensors that no step changes are passed on, not copied. */
  process(batch: TensorBatch): TensorBatch {
    return scope(() => this.steps.reduce((current, step) => step.process(current), batch));
  }
}

/** A policy's two pipelines: what its inputs and what its actions go through. */
export class PolicyProcessors {
  constructor(
    readonly preprocessor: ProcessorPipeline,
    readonly postprocessor: ProcessorPipeline,
  ) {}

  /** From a dataset's or robot's batch to the policy's: batched, on the policy's device, normalised. */
  preprocess(batch: TensorBatch): TensorBatch {
    return this.preprocessor.process(batch);
  }

  /** From the policy's action (`[B, a]` or `[B, steps, a]`) to the robot's: dataset scale, on the CPU. */
  postprocess(action: Tensor): Tensor {
    return this.postprocessor.process({ action }).action!;
  }
}
