import { noGrad, scope, type Tensor, tensor, where } from '@craft-ft/torch';
import { invalid, requireFactor, requireImage } from './image.js';

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

/** Smaller than any visible difference between channels; avoids a division by 0 for greys, which have no hue. */
const TINY = 1e-12;

/** A channel as a fraction of the range from smallest to largest, for a hue h in [0, 6]: clamp(sign·|h − centre| + shift, 0, 1). */
const CHANNELS = { centre: [3, 2, 4], sign: [1, -1, -1], shift: [-1, 2, 2] };

/**
 * Rotates the hue of every pixel by `factor` of a full turn, as torchvision's `adjust_hue`: to HSV and back, with the inverse in
 * closed form. One channel is returned as it is.
 *
 * @param image `[..., 1 or 3, H, W]`, float in [0, 1]
 * @param factor in [-0.5, 0.5]; 0 changes nothing
 */
export function adjustHue(image: Tensor, factor: number): Tensor {
  requireImage(image, 'adjustHue');
  if (!(Math.abs(factor) <= 0.5))
    throw invalid('adjustHue', `expected a factor in [-0.5, 0.5], got ${factor}`);
  if (image.size(-3) === 1) return image;
  return scope(() =>
    noGrad(() => {
      const [red, green, blue] = image.split(1, -3) as [Tensor, Tensor, Tensor];
      const highest = red.maximum(green).maximum(blue);
      const lowest = red.minimum(green).minimum(blue);
      const range = highest.sub(lowest);
      const h = sextant([red, green, blue], highest, range).add_(6 * factor);
      h.sub_(h.div(6).floor().mul_(6));
      const { dtype, device } = image;
      const constants = (values: number[]) => tensor(values, { dtype, device, shape: [3, 1, 1] });
      const result = h.sub(constants(CHANNELS.centre)).abs_();
      result.mul_(constants(CHANNELS.sign)).add_(constants(CHANNELS.shift)).clamp_(0, 1);
      return result.mul_(range).add_(lowest);
    }),
  );
}

// Six times the hue, in [-1, 5]; 0 for greys.
function sextant(channels: [Tensor, Tensor, Tensor], highest: Tensor, range: Tensor): Tensor {
  const [red, green, blue] = channels;
  const divisor = range.clampMin(TINY);
  const fromGreen = blue.sub(red).div_(divisor).add_(2);
  const fromBlue = red.sub(green).div_(divisor).add_(4);
  const others = where(green.eq(highest), fromGreen, fromBlue);
  return where(red.eq(highest), green.sub(blue).div_(divisor), others);
}

/**
 * Blends each image with a smoothed one, as torchvision's `adjust_sharpness`: the 3×3 kernel has 5 in the centre and 1 around it,
 * over 13. The outermost rows and columns stay as they are, and so do images with a side below 3.
 *
 * @param image `[..., 1 or 3, H, W]`, float in [0, 1]
 * @param factor at least 0; 1 changes nothing, 0 gives the smoothed image, above 1 sharpens
 */
export function adjustSharpness(image: Tensor, factor: number): Tensor {
  requireImage(image, 'adjustSharpness');
  requireFactor(factor, 'adjustSharpness');
  const [height, width] = [image.size(-2), image.size(-1)];
  if (height < 3 || width < 3) return image;
  return scope(() =>
    noGrad(() => {
      // Row sums, then column sums: a third of the work of a convolution.
      const rows = image.narrow(-2, 0, height - 2).add(image.narrow(-2, 1, height - 2));
      rows.add_(image.narrow(-2, 2, height - 2));
      const box = rows.narrow(-1, 0, width - 2).add(rows.narrow(-1, 1, width - 2));
      box.add_(rows.narrow(-1, 2, width - 2));
      const result = image.clone();
      const inside = result.narrow(-2, 1, height - 2).narrow(-1, 1, width - 2);
      // factor·x + (1 − factor)·(box + 4·x)/13
      const smooth = (1 - factor) / 13;
      inside.mul_(factor + 4 * smooth).add_(box, { alpha: smooth });
      return result.clamp_(0, 1);
    }),
  );
}
