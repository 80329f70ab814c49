import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError, cudaDeviceCount, type DType } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch } from './step.js';

const FLOATING: readonly DType[] = ['float16', 'bfloat16', 'float32', 'float64'];

/** The device itself. @throws CraftError `DEVICE_UNAVAILABLE` for a CUDA device that is not there */
export function requireDevice(device: string): string {
  if (!device.startsWith('cuda') || Number(device.split(':')[1] ?? 0) < cudaDeviceCount()) return device;
  const message = `device "${device}": libtorch sees ${cudaDeviceCount()} CUDA devices; choose --policy.device=cpu`;
  throw new CraftError('DEVICE_UNAVAILABLE', message);
}

/** Moves every tensor to a device, and floating-point ones to `floatDtype` where one is given. */
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

// "cuda" is the current device, the first one unless somebody changed it.
function sameDevice(found: string, wanted: string): boolean {
  return found === wanted || found === `${wanted}:0`;
}
