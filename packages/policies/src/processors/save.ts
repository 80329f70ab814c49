import { join } from 'node:path';
import type { PlainObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, safetensors } from '@craft-ft/torch';
import type { PolicyProcessors, ProcessorPipeline } from './pipeline.js';

/**
 * Writes `<name>.json`, the files that steps need and, for each step with state, `<name>_step_<i>_<registry name>.safetensors`, as LeRobot's
 * `DataProcessorPipeline.save_pretrained`.
 *
 * @param dir an existing folder
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
 */
export function savePipeline(pipeline: ProcessorPipeline, dir: string): void {
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
