import { Xoshiro128 } from '@craft-ft/datasets';
import { noGrad, scope, stack, type Tensor } from '@craft-ft/torch';
import { ConfigError, type Problem } from '../config/check.js';
import { type AffineParameters, affine } from './affine.js';
import { adjustBrightness, adjustContrast, adjustHue, adjustSaturation, adjustSharpness } from './color.js';
import { type ImageSize, invalid, requireImage } from './image.js';
import {
  type ImageTransformRanges,
  type ImageTransformsConfig,
  readImageTransform,
} from './transform-config.js';

/**
 * Random augmentation of camera images in training, as LeRobot's `transforms.py: ImageTransforms`: each image gets
 * `max_num_transforms` of the configured transforms, drawn without replacement by weight and applied in their configured order (or
 * in the order drawn, with `random_order`).
 *
 * As in LeRobot, every camera of every sample gets its own draw, and the frames of a sample's window share it. Unlike in LeRobot, a
 * draw depends only on seed, camera and sample number, so neither the number of workers nor a resumed run changes it. LeRobot 0.6.2
 * trains on uint8 images, which torchvision rounds after every transform; here they are float throughout.
 *
 * @example
 * ```ts
 * const transforms = new ImageTransforms(config.dataset.image_transforms, config.seed);
 * // Samples 800 to 807 of the run, whichever frames those are.
 * batch[camera] = transforms.apply(batch[camera], camera, [800, 801, 802, 803, 804, 805, 806, 807]);
 * ```
 */
export class ImageTransforms {
  readonly #transforms: ImageTransformRanges[] = [];
  readonly #weights: number[] = [];
  readonly #seed: number;
  readonly #count: number;
  readonly #randomOrder: boolean;
  readonly #cameraSeeds = new Map<string, number>();

  /** @throws ConfigError naming each argument that is wrong */
  constructor(config: ImageTransformsConfig, seed: number) {
    const problems: Problem[] = [];
    for (const [name, entry] of Object.entries(config.tfs)) {
      const read = readImageTransform(entry, `dataset.image_transforms.tfs.${name}`);
      if ('problems' in read) problems.push(...read.problems);
      else if (entry.weight > 0) {
        this.#transforms.push(read.ranges);
        this.#weights.push(entry.weight);
      }
    }
    if (problems.length > 0) throw new ConfigError(problems);
    this.#seed = seed;
    this.#count = config.enable ? Math.min(this.#transforms.length, config.max_num_transforms) : 0;
    this.#randomOrder = config.random_order;
  }

  /** Whether there is anything to apply. */
  get enabled(): boolean {
    return this.#count > 0;
  }

  /**
   * Draws the transforms of one image.
   *
   * @param sample number of the sample in the run, counted across epochs, so that a frame gets a new draw each time it is seen
   */
  draw(camera: string, sample: number, size: ImageSize): ImageChange[] {
    if (!this.enabled) return [];
    const random = new Xoshiro128(this.#cameraSeed(camera), sample);
    const chosen = drawWeighted(this.#weights, this.#count, random);
    if (!this.#randomOrder) chosen.sort((a, b) => a - b);
    return chosen.flatMap((index) => drawChanges(this.#transforms[index]!, random, size));
  }

  /**
   * Transforms the images of a batch, each sample with its own draw.
   *
   * @param images float in [0, 1], `[B, ..., C, H, W]`
   * @param samples B sample numbers
   * @returns a new tensor of the same shape; the input itself where transforms are off
   * @throws CraftError `IMAGE_INVALID`
   */
  apply(images: Tensor, camera: string, samples: readonly number[]): Tensor {
    if (!this.enabled) return images;
    const caller = `image transforms of ${camera}`;
    requireImage(images, caller);
    if (images.ndim < 4 || images.size(0) !== samples.length) {
      throw invalid(caller, `expected a batch of ${samples.length} images, got [${images.shape}]`);
    }
    const size: ImageSize = [images.size(-2), images.size(-1)];
    return scope(() =>
      noGrad(() =>
        stack(
          samples.map((sample, row) =>
            scope(() => this.draw(camera, sample, size).reduce(changeImage, images.select(0, row))),
          ),
        ),
      ),
    );
  }

  // One seed per camera, from the run's seed and a hash of the name (FNV-1a): a camera's draws do not depend on the other cameras.
  #cameraSeed(camera: string): number {
    const known = this.#cameraSeeds.get(camera);
    if (known !== undefined) return known;
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(camera)) hash = Math.imul(hash ^ byte, 0x01000193);
    // Streams from 2³² on: those below are epoch numbers, with which the sampler draws its orders from the same seed.
    const seed = unit(new Xoshiro128(this.#seed, 2 ** 32 + (hash >>> 0))) * 2 ** 53;
    this.#cameraSeeds.set(camera, seed);
    return seed;
  }
}

const FACTORS = {
  brightness: adjustBrightness,
  contrast: adjustContrast,
  saturation: adjustSaturation,
  hue: adjustHue,
  sharpness: adjustSharpness,
} as const;

const COLORS = ['brightness', 'contrast', 'saturation', 'hue'] as const;

/** One transform with its parameters drawn. */
export type ImageChange =
  | { op: keyof typeof FACTORS; factor: number }
  | ({ op: 'affine' } & Required<AffineParameters>);

/** Applies one transform to `[..., C, H, W]`, float in [0, 1]. */
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
 * Draws the parameters of one transform as torchvision's classes do: factors uniformly from their ranges, the changes of a
 * ColorJitter in random order, translations in whole pixels.
 */
function drawChanges(
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
 * Draws `count` different indices into `weights`, each in proportion to the remaining weights: the distribution and the order of
 * `torch.multinomial` without replacement.
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
    // Rounding may leave a remainder after the last weight.
    if (at < 0) at = left.length - 1;
    return left.splice(at, 1)[0]!.index;
  });
}
