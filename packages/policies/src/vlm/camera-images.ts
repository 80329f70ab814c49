import { CraftError, full, noGrad, ones, stack, type Tensor } from '@craft-ft/torch';
import type { PolicyFeatures } from '../config/policy-fields.js';
import { resizeWithPad } from '../images/image.js';
import type { TensorBatch } from '../processors/step.js';

/** The configuration fields that determine how camera images are prepared. */
interface CameraConfig {
  input_features: PolicyFeatures;
  empty_cameras: number;
  image_resolution: readonly [number, number];
}

/** Images of every camera, `[B, cameras, 3, height, width]` in [-1, 1], and which are present, bool `[B, cameras]`. */
interface CameraImages {
  images: Tensor;
  mask: Tensor;
}

/** The cameras of a configuration in its order, empty ones last. */
function cameraKeys({ input_features: inputs, empty_cameras: empty }: CameraConfig): string[] {
  const real = Object.entries(inputs).filter(([, { type }]) => type === 'VISUAL');
  return [
    ...real.map(([key]) => key),
    ...Array.from({ length: empty }, (_, i) => `observation.images.empty_camera_${i}`),
  ];
}

/**
 * Camera images as the vision tower takes them: resized with padding to `image_resolution`, mapped from [0, 1] to [-1, 1].
 *
 * A camera that the batch lacks is filled with −1 and masked, at its own place in the configuration's order. (LeRobot appends such
 * cameras after the present ones, which changes what the model sees when an earlier camera fails; with the absent ones last, both
 * agree.) uint8 images are divided by 255. `<camera>_is_pad`, bool `[B]`, masks single samples.
 *
 * @returns null for a policy without cameras
 * @throws CraftError `POLICY_INPUT` where no camera is in the batch, or an image has a wrong shape
 */
export function cameraImages(batch: TensorBatch, config: CameraConfig, device: string): CameraImages | null {
  const keys = cameraKeys(config);
  const present = keys.filter((key) => batch[key] !== undefined);
  if (keys.length === 0) return null;
  if (present.length === 0) {
    throw new CraftError(
      'POLICY_INPUT',
      `the batch has none of the policy's cameras ${keys.join(', ')}; it has ${Object.keys(batch).join(', ')}`,
    );
  }
  return noGrad(() => {
    const found = new Map(present.map((key) => [key, camera(key, batch[key]!, config, device)]));
    const size = batch[present[0]!]!.size(0);
    const blank = full([size, 3, ...config.image_resolution], -1, { device });
    const all = ones([size], { dtype: 'bool', device });
    const images = keys.map((key) => found.get(key) ?? blank);
    const masks = keys.map((key) => {
      if (!found.has(key)) return all.logicalNot();
      const padded = batch[`${key}_is_pad`];
      return padded === undefined ? all : padded.to(device).reshape([-1]).logicalNot();
    });
    return { images: stack(images, 1), mask: stack(masks, 1) };
  });
}

function camera(key: string, image: Tensor, config: CameraConfig, device: string): Tensor {
  if (image.ndim !== 4 || image.size(1) !== 3) {
    const message = `"${key}" has shape [${image.shape.join(', ')}], the policy expects [batch, 3, height, width]`;
    throw new CraftError('POLICY_INPUT', message);
  }
  const bytes = image.dtype === 'uint8';
  const values = image.to({ device, dtype: 'float32' });
  return resizeWithPad(bytes ? values.div(255) : values, config.image_resolution)
    .mul(2)
    .sub(1);
}
