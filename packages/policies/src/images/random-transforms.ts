import type { Xoshiro128 } from '@craft-ft/datasets';
import type { Tensor } from '@craft-ft/torch';
import type { ImageTransformRanges } from '../config/image-transforms.js';
import { type AffineParameters, affine } from './affine.js';
import { adjustBrightness, adjustContrast, adjustSaturation } from './color.js';
import { adjustHue } from './hue.js';
import type { ImageSize } from './resize.js';
import { adjustSharpness } from './sharpness.js';

const FACTORS = {
  brightness: adjustBrightness,
  contrast: adjustContrast,
  saturation: adjustSaturation,
  hue: adjustHue,
  sharpness: adjustSharpness,
} as const;

const COLORS = ['brightness', 'contrast', 'saturation', 'hue'] as const;

/** One change of an image, its parameters drawn. */
export type ImageChange =
  | { op: keyof typeof FACTORS; factor: number }
  | ({ op: 'affine' } & Required<AffineParameters>);

/** Carries out one change on `[..., C, H, W]`, float in [0, 1]. */
export function changeImage(image: Tensor, change: ImageChange): Tensor {
  return change.op === 'affine' ? affine(image, change) : FACTORS[change.op](image, change.factor);
}

/** A number in [0, 1) with 53 random bits. */
export function unit(random: Xoshiro128): number {
  return (random.next() * 2 ** 21 + (random.next() >>> 11)) / 2 ** 53;
}

function uniform(random: Xoshiro128, [low, high]: readonly [number, number]): number {
  return low + unit(random) * (high - low);
}

/**
 * Draws the parameters of one transform as torchvision's classes do: factors uniform in their ranges, several of a ColorJitter in
 * random order, translations in whole pixels.
 */
export function drawChanges(
  ranges: ImageTransformRanges,
  random: Xoshiro128,
  [height, width]: ImageSize,
): ImageChange[] {
  switch (ranges.type) {
    case 'Identity':
      return [];
    case 'SharpnessJitter':
      return ranges.sharpness === null
        ? []
        : [{ op: 'sharpness', factor: uniform(random, ranges.sharpness) }];
    case 'ColorJitter':
      return drawWeighted([1, 1, 1, 1], 4, random).flatMap((i): ImageChange[] => {
        const op = COLORS[i]!;
        const range = ranges[op];
        return range === null ? [] : [{ op, factor: uniform(random, range) }];
      });
    case 'RandomAffine': {
      const { degrees, translate, scale, shear } = ranges;
      const angle = uniform(random, degrees);
      // Adding 0 turns -0 into 0.
      const shift = (most: number) => Math.round(uniform(random, [-most, most])) + 0;
      return [
        {
          op: 'affine',
          angle,
          translate:
            translate === null ? [0, 0] : [shift(translate[0] * width), shift(translate[1] * height)],
          scale: scale === null ? 1 : uniform(random, scale),
          shear:
            shear === null
              ? [0, 0]
              : [
                  uniform(random, [shear[0], shear[1]]),
                  shear.length === 4 ? uniform(random, [shear[2], shear[3]]) : 0,
                ],
        },
      ];
    }
  }
}

/**
 * `count` different positions of `weights`, each drawn in proportion to the weights that are left: the distribution and the order
 * of `torch.multinomial` without replacement.
 */
export function drawWeighted(weights: readonly number[], count: number, random: Xoshiro128): number[] {
  const left = weights.map((weight, index) => ({ weight, index }));
  return Array.from({ length: count }, () => {
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    let rest = unit(random) * total;
    let at = left.findIndex(({ weight }) => {
      rest -= weight;
      return rest < 0;
    });
    // Rounding may leave a last crumb.
    if (at < 0) at = left.length - 1;
    return left.splice(at, 1)[0]!.index;
  });
}
