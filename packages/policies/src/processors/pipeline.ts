import { join } from 'node:path';
import type { PlainObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, safetensors, scope, type Tensor } from '@craft-ft/torch';
import { AbsoluteActionsStep, RelativeActionsStep } from './relative-actions.js';
import type { ProcessorStep, TensorBatch, Texts } from './step.js';

/** A sequence of steps, as LeRobot's `PolicyProcessorPipeline`. */
export class ProcessorPipeline {
  constructor(
    /** Also the name of its file: `policy_preprocessor` or `policy_postprocessor`. */
    readonly name: string,
    readonly steps: readonly ProcessorStep[],
  ) {}

  /** Runs a batch through every step. Tensors that no step changes are passed on, not copied; `texts` is not modified. */
  process(batch: TensorBatch, texts: Texts = {}): TensorBatch {
    return scope(() => {
      const own = { ...texts };
      return this.steps.reduce((current, step) => step.process(current, own), batch);
    });
  }
}

/** A policy's two pipelines: preprocessing of its inputs and postprocessing of its actions. */
export class PolicyProcessors {
  constructor(
    readonly preprocessor: ProcessorPipeline,
    readonly postprocessor: ProcessorPipeline,
  ) {
    const relative = preprocessor.steps.find((step) => step instanceof RelativeActionsStep);
    for (const step of postprocessor.steps) {
      if (step instanceof AbsoluteActionsStep) step.follow(relative ?? null);
    }
  }

  /**
   * Tracks when the policy predicts, so that `postprocess` handles relative actions correctly. `selectAction` returns the actions
   * of a chunk one by one; all of them are relative to the state that the chunk was predicted from, not to the latest one.
   */
  follow(policy: { onPrediction: (() => void) | null }): void {
    const relative = this.preprocessor.steps.find((step) => step instanceof RelativeActionsStep);
    policy.onPrediction = relative?.enabled ? () => relative.pin() : null;
  }

  /**
   * Turns a dataset's or robot's batch into the policy's input: batched, on the policy's device, normalised, tokenised.
   *
   * @param texts of the samples: `{ task: ['pick up the bottle'] }` (one for all, or one each). Policies without language need none
   */
  preprocess(batch: TensorBatch, texts: Texts = {}): TensorBatch {
    return this.preprocessor.process(batch, texts);
  }

  /**
   * Turns the policy's action (`[B, a]` or `[B, steps, a]`) into the robot's: in the dataset's scale, on the CPU. Relative actions
   * are relative to the state that was preprocessed last; for `selectAction`, see {@link follow}.
   */
  postprocess(action: Tensor): Tensor {
    return this.postprocessor.process({ action }).action!;
  }
}

/**
 * Writes `<name>.json`, the files that steps need and, for each step with state, `<name>_step_<i>_<registry name>.safetensors`, as LeRobot's
 * `DataProcessorPipeline.save_pretrained`.
 *
 * @param dir an existing folder
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
 */
function savePipeline(pipeline: ProcessorPipeline, dir: string): void {
  const steps = pipeline.steps.map((step, i) => {
    const entry: PlainObject = { registry_name: step.registryName, config: step.config() };
    step.saveAssets?.(dir);
    const state = step.state();
    if (state === null || state.size === 0) return entry;
    const file = `${pipeline.name}_step_${i}_${step.registryName}.safetensors`;
    safetensors.saveFile(join(dir, file), state);
    return { ...entry, state_file: file };
  });
  atomicWriteFile(
    join(dir, `${pipeline.name}.json`),
    JSON.stringify({ name: pipeline.name, steps }, null, 2),
  );
}

/** Writes both pipelines into a checkpoint's `pretrained_model` folder. */
export function saveProcessors(processors: PolicyProcessors, dir: string): void {
  savePipeline(processors.preprocessor, dir);
  savePipeline(processors.postprocessor, dir);
}
