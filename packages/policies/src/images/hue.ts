import { noGrad, scope, type Tensor, tensor, where } from '@craft-ft/torch';
import { invalid, requireImage } from './check.js';

/** Below any difference of two channels that shows; keeps greys, which have no hue, from dividing by 0. */
const TINY = 1e-12;

/** The share of the range by which a channel exceeds the smallest, for a hue h in [0, 6]: clamp(sign·|h − centre| + shift, 0, 1). */
const CHANNELS = { centre: [3, 2, 4], sign: [1, -1, -1], shift: [-1, 2, 2] };

/**
 * Turns the hue of every pixel by `factor` of a full turn, as torchvision's `adjust_hue`: to HSV and back, the way back in closed
 * form. One channel is returned as it is.
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
