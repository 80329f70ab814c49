import type { LoadedFrames } from '@craft-ft/datasets';
import { type PolicyConfig, resize, resizeWithPad, type TensorBatch, toFloat } from '@craft-ft/policies';
import { fromTypedArray, noGrad, scope, type Tensor } from '@craft-ft/torch';
import { cameraSizes } from '@craft-ft/training';

/** Where a policy's images are stored at another size than its features have. */
interface ImagePolicy {
  image_resolution?: readonly [number, number] | readonly number[];
}

/** The height and width a camera's images are stored at, and whether its aspect ratio is kept by padding. */
interface StoredSize {
  readonly size: readonly [number, number];
  readonly padded: boolean;
}

/**
 * The size at which a cache stores a policy's images: the size the policy sees. A policy that fits its images into `image_resolution`
 * itself gets them at that size, so that nothing is left for it to do.
 */
export function storedSizes(config: PolicyConfig): Map<string, StoredSize> {
  const { image_resolution: resolution } = config as ImagePolicy;
  return new Map(
    [...cameraSizes(config.input_features)].map(([camera, size]) => {
      const larger = resolution !== undefined && size.some((side, i) => side > resolution[i]!);
      return [
        camera,
        larger ? { size: [resolution[0]!, resolution[1]!], padded: true } : { size, padded: false },
      ];
    }),
  );
}

/** Decoded frames as a cache stores them: uint8 `[B, 3, H, W]`. */
export function storedImages(
  { rgb, height, width }: LoadedFrames,
  count: number,
  { size, padded }: StoredSize,
): Tensor {
  return scope(() =>
    noGrad(() => {
      const frames = fromTypedArray(rgb, [count, height, width, 3]);
      if (size[0] === height && size[1] === width) return frames.movedim([-1], [-3]).contiguous();
      const images = toFloat(frames, 'hwc');
      const fitted = padded ? resizeWithPad(images, size) : resize(images, size);
      return fitted.mul(255).round_().clamp_(0, 255).to({ dtype: 'uint8' });
    }),
  );
}

/** Stored tensors of samples as a policy's preprocessor takes them: images become float32 in [0, 1]. */
export function fromStored(
  tensors: Readonly<Record<string, Tensor>>,
  cameras: Iterable<string>,
): TensorBatch {
  const images = new Set(cameras);
  return scope(() =>
    noGrad(() =>
      Object.fromEntries(
        Object.entries(tensors).map(([key, values]) => {
          if (!images.has(key)) return [key, values];
          return [key, values.dtype === 'uint8' ? toFloat(values, 'chw') : values.to({ dtype: 'float32' })];
        }),
      ),
    ),
  );
}

/** The columns of a dataset's batch that a policy reads: its numeric inputs and outputs, and the masks of windows. */
export function inputKeys(config: PolicyConfig, present: readonly string[]): string[] {
  const inputs = Object.entries(config.input_features).filter(([, { type }]) => type !== 'VISUAL');
  const wanted = inputs.map(([key]) => key);
  return [...wanted, ...wanted.map((key) => `${key}_is_pad`)].filter((key) => present.includes(key));
}

/** As {@link inputKeys}, of the recorded actions. */
export function outputKeys(config: PolicyConfig, present: readonly string[]): string[] {
  const wanted = Object.keys(config.output_features);
  return [...wanted, ...wanted.map((key) => `${key}_is_pad`)].filter((key) => present.includes(key));
}
