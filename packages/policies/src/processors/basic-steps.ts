import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError, cudaDeviceCount, type DType } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Renames observations from a robot's or dataset's names to the policy's. */
export class RenameStep implements ProcessorStep {
  readonly registryName = 'rename_observations_processor';
  readonly #renameMap: Readonly<Record<string, string>>;

  constructor(renameMap: Readonly<Record<string, string>> = {}) {
    this.#renameMap = renameMap;
  }

  /** @throws CraftError `PROCESSOR_RENAME` if a renamed key would replace another one */
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

/** Number of dimensions of a single, unbatched value of a key; undefined for keys that are passed through. */
function singleDims(key: string): number | undefined {
  if (key === 'action' || key === 'observation.state' || key === 'observation.environment_state') return 1;
  if (key === 'observation.image' || key.startsWith('observation.images.')) return 3;
  if (key === 'index' || key === 'task_index') return 0;
  return undefined;
}

/** Adds the batch dimension to single observations, as a robot gives them; batches pass unchanged. */
export class ToBatchStep implements ProcessorStep {
  readonly registryName = 'to_batch_processor';

  process(batch: TensorBatch): TensorBatch {
    return Object.fromEntries(
      Object.entries(batch).map(([key, values]) => [
        key,
        values.ndim === singleDims(key) ? values.unsqueeze(0) : values,
      ]),
    );
  }

  config(): PlainObject {
    return {};
  }

  state(): null {
    return null;
  }
}

const FLOATING: readonly DType[] = ['float16', 'bfloat16', 'float32', 'float64'];

/** Returns `device`. @throws CraftError `DEVICE_UNAVAILABLE` for a CUDA device that does not exist */
export function requireDevice(device: string): string {
  if (!device.startsWith('cuda') || Number(device.split(':')[1] ?? 0) < cudaDeviceCount()) return device;
  const message = `device "${device}": libtorch sees ${cudaDeviceCount()} CUDA devices; choose --policy.device=cpu`;
  throw new CraftError('DEVICE_UNAVAILABLE', message);
}

/** Moves every tensor to a device, and casts floating-point ones to `floatDtype` if given. */
export class DeviceStep implements ProcessorStep {
  readonly registryName = 'device_processor';
  readonly #device: string;
  readonly #floatDtype: DType | null;

  /** @throws CraftError `DEVICE_UNAVAILABLE` */
  constructor(device: string, floatDtype: DType | null = null) {
    this.#device = requireDevice(device);
    this.#floatDtype = floatDtype;
  }

  process(batch: TensorBatch): TensorBatch {
    const result: TensorBatch = {};
    for (const [key, values] of Object.entries(batch)) {
      const dtype =
        this.#floatDtype !== null && FLOATING.includes(values.dtype) ? this.#floatDtype : values.dtype;
      const stays = dtype === values.dtype && sameDevice(values.device, this.#device);
      result[key] = stays ? values : values.to({ device: this.#device, dtype });
    }
    return result;
  }

  config(): PlainObject {
    return { device: this.#device, float_dtype: this.#floatDtype };
  }

  state(): null {
    return null;
  }
}

// "cuda" is the current device: the first one unless it has been changed.
function sameDevice(found: string, wanted: string): boolean {
  return found === wanted || found === `${wanted}:0`;
}
