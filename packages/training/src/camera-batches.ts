import type { LoadedFrames } from '@craft-ft/datasets';
import type { TensorBatch } from '@craft-ft/policies';
import { ImageTransforms, resize, toFloat } from '@craft-ft/policies';
import type { ImageTransformsConfig, PolicyFeatures } from '@craft-ft/policies/config';
import { fromTypedArray, noGrad, scope, type Tensor } from '@craft-ft/torch';

/** The cameras among a policy's inputs, by name, with the height and width the policy sees. */
export function cameraSizes(features: PolicyFeatures): Map<string, [height: number, width: number]> {
  const cameras = Object.entries(features).filter(([, { type }]) => type === 'VISUAL');
  return new Map(cameras.map(([key, { shape }]) => [key, [shape[1]!, shape[2]!]]));
}

/** Turns decoded frames into what a policy's preprocessor takes: float32 [B, 3, H, W] in [0, 1], at the policy's size. */
export class CameraBatches {
  readonly #sizes: Map<string, [number, number]>;
  readonly #transforms: ImageTransforms | null;

  /** @param transforms random changes in training; null for none */
  constructor(features: PolicyFeatures, transforms: ImageTransformsConfig | null, seed: number) {
    this.#sizes = cameraSizes(features);
    this.#transforms = transforms === null ? null : new ImageTransforms(transforms, seed);
  }

  get cameras(): string[] {
    return [...this.#sizes.keys()];
  }

  /** @param samples numbers of the samples in the run, which the random changes depend on */
  tensors(frames: Readonly<Record<string, LoadedFrames>>, samples: readonly number[]): TensorBatch {
    return Object.fromEntries(
      [...this.#sizes].map(([camera, size]) => [
        camera,
        this.#camera(camera, frames[camera]!, size, samples),
      ]),
    );
  }

  #camera(
    camera: string,
    { rgb, height, width }: LoadedFrames,
    size: [number, number],
    samples: readonly number[],
  ): Tensor {
    return scope(() =>
      noGrad(() => {
        const images = toFloat(fromTypedArray(rgb, [samples.length, height, width, 3]), 'hwc');
        const fitted = size[0] === height && size[1] === width ? images : resize(images, size);
        return this.#transforms?.enabled ? this.#transforms.apply(fitted, camera, samples) : fitted;
      }),
    );
  }
}
