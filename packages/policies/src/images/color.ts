import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import { requireFactor, requireImage } from './check.js';

/** Luminance `[..., 1, H, W]` of `[..., 3, H, W]` with the weights of ITU-R 601, as torchvision's `rgb_to_grayscale`. */
export function grayscale(image: Tensor): Tensor {
  requireImage(image, 'grayscale');
  if (image.size(-3) === 1) return image;
  return scope(() =>
    noGrad(() => {
      const [red, green, blue] = image.split(1, -3) as [Tensor, Tensor, Tensor];
      return red.mul(0.2989).add_(green, { alpha: 0.587 }).add_(blue, { alpha: 0.114 });
    }),
  );
}

// image·ratio + other·(1 − ratio), in [0, 1].
function blend(image: Tensor, other: Tensor, ratio: number): Tensor {
  return image
    .mul(ratio)
    .add_(other, { alpha: 1 - ratio })
    .clamp_(0, 1);
}

/**
 * Multiplies by `factor` and clamps to [0, 1], as torchvision's `adjust_brightness`.
 *
 * @param image `[..., 1 or 3, H, W]`, float in [0, 1]
 * @param factor at least 0; 1 changes nothing, 0 gives black
 */
export function adjustBrightness(image: Tensor, factor: number): Tensor {
  requireImage(image, 'adjustBrightness');
  requireFactor(factor, 'adjustBrightness');
  return scope(() => noGrad(() => image.mul(factor).clamp_(0, 1)));
}

/**
 * Blends each image with the mean of its luminance, as torchvision's `adjust_contrast`.
 *
 * @param image `[..., 1 or 3, H, W]`, float in [0, 1]
 * @param factor at least 0; 1 changes nothing, 0 gives a uniform grey
 */
export function adjustContrast(image: Tensor, factor: number): Tensor {
  requireImage(image, 'adjustContrast');
  requireFactor(factor, 'adjustContrast');
  return scope(() => noGrad(() => blend(image, grayscale(image).mean([-3, -2, -1], true), factor)));
}

/**
 * Blends each pixel with its luminance, as torchvision's `adjust_saturation`. One channel is returned as it is.
 *
 * @param image `[..., 1 or 3, H, W]`, float in [0, 1]
 * @param factor at least 0; 1 changes nothing, 0 gives greys
 */
export function adjustSaturation(image: Tensor, factor: number): Tensor {
  requireImage(image, 'adjustSaturation');
  requireFactor(factor, 'adjustSaturation');
  if (image.size(-3) === 1) return image;
  return scope(() => noGrad(() => blend(image, grayscale(image), factor)));
}
