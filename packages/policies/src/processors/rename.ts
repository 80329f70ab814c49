import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Renames observations, from the names a robot or dataset uses to the policy's. */
export class RenameStep implements ProcessorStep {
  readonly registryName = 'rename_observations_processor';
  readonly #renameMap: Readonly<Record<string, string>>;

  constructor(renameMap: Readonly<Record<string, string>> = {}) {
    this.#renameMap = renameMap;
  }

  /** @throws CraftError `PROCESSOR_RENAME` where a renamed key would replace another one */
  process(batch: TensorBatch): TensorBatch {
    const result: TensorBatch = {};
    for (const [key, values] of Object.entries(batch)) {
      const name = Object.hasOwn(this.#renameMap, key) ? this.#renameMap[key]! : key;
      if (Object.hasOwn(result, name)) {
        throw new CraftError(
          'PROCESSOR_RENAME',
          `rename_map: two keys of the batch would both be called "${name}"`,
        );
      }
      result[name] = values;
    }
    return result;
  }

  config(): PlainObject {
    return { rename_map: { ...this.#renameMap } };
  }

  state(): null {
    return null;
  }
}
