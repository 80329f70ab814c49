import { CraftError, constantPadNd, nn, noGrad, scope, type Tensor } from '@craft-ft/torch';

/** Whether channels come last, as decoders write them, or before height and width, as policies read them. */
type ImageLayout = 'hwc' | 'chw';

const isChannels = (size: number | undefined) => size === 1 || size === 3;

/** Infers the layout from a shape. @throws CraftError `IMAGE_INVALID` if it fits neither layout or both */
function layoutOf(shape: readonly number[]): ImageLayout {
  const last = isChannels(shape.at(-1));
  const first = isChannels(shape.at(-3));
  if (shape.length < 3 || (!last && !first)) {
    throw invalid('toFloat', `[${shape}] has no dimension of 1 or 3 channels`);
  }
  if (last && first) {
    throw invalid('toFloat', `[${shape}] could have its channels first or last; pass 'chw' or 'hwc'`);
  }
  return last ? 'hwc' : 'chw';
}

/**
 * Decoded frames as policies read them: uint8 `[..., H, W, C]` or `[..., C, H, W]` becomes float32 `[..., C, H, W]`, contiguous,
 * divided by 255. Float frames only change their layout.
 *
 * @param layout of the input. Default: inferred from which dimension is 1 or 3
 * @throws CraftError `IMAGE_INVALID` for a shape that is not that of an image, or whose layout is ambiguous
 */
export function toFloat(images: Tensor, layout: ImageLayout = layoutOf(images.shape)): Tensor {
  return scope(() =>
    noGrad(() => {
      const first = layout === 'chw' ? images : images.movedim([-1], [-3]);
      const ordered = first.contiguous();
      return images.dtype === 'uint8' ? ordered.to({ dtype: 'float32' }).div_(255) : ordered;
    }),
  );
}

/** [height, width] in pixels. */
export type ImageSize = readonly [number, number];

/** Interpolates `[..., C, H, W]` as one batch. uint8 is computed in float32 and rounded. */
function interpolateBatch(images: Tensor, size: ImageSize, antialias: boolean): Tensor {
  const leading = images.shape.slice(0, -3);
  const [channels = 0, height = 0, width = 0] = images.shape.slice(-3);
  const bytes = images.dtype === 'uint8';
  const flat = images.reshape([-1, channels, height, width]);
  const resized = nn.functional.interpolate(bytes ? flat.to({ dtype: 'float32' }) : flat, {
    size,
    antialias,
  });
  const kept = bytes ? resized.round_().clamp_(0, 255).to({ dtype: 'uint8' }) : resized;
  return kept.reshape([...leading, channels, ...size]);
}

function checkSizes(images: Tensor, size: ImageSize, caller: string): void {
  if (images.ndim < 3)
    throw invalid(caller, `expected [..., channels, height, width], got [${images.shape}]`);
  if (size.length !== 2 || !size.every((side) => Number.isInteger(side) && side >= 1)) {
    throw invalid(caller, `expected a size [height, width] of whole numbers, got [${size}]`);
  }
}

function hasSize(images: Tensor, [height, width]: ImageSize): boolean {
  return images.size(-2) === height && images.size(-1) === width;
}

/**
 * Bilinear resizing of `[..., C, H, W]` that ignores the aspect ratio, as torchvision's `resize` of a tensor.
 *
 * @param images float, or uint8 (rounded to the nearest value)
 * @param options.antialias low-pass before shrinking. Default true, as torchvision
 * @returns in the input's dtype; the input itself if it already has this size
 * @throws CraftError `IMAGE_INVALID`
 */
export function resize(images: Tensor, size: ImageSize, options: { antialias?: boolean } = {}): Tensor {
  checkSizes(images, size, 'resize');
  if (hasSize(images, size)) return images;
  return scope(() => noGrad(() => interpolateBatch(images, size, options.antialias ?? true)));
}

/**
 * Resizes `[..., C, H, W]` to fit into `size` with its aspect ratio kept, and pads the rest, the image in the centre; an odd pixel
 * of padding goes to the bottom or right. As LeRobot's `resize_with_pad_torch` of pi0, which follows openpi's: bilinear without
 * antialiasing, sides rounded down.
 *
 * @param images float in [0, 1], clamped to it after interpolation; or uint8 (rounded)
 * @param options.padValue value of the padding, in the input's units. Default 0; openpi, whose images are in [-1, 1], uses -1
 * @param options.range values are clamped to it. Default [0, 1], for uint8 [0, 255]
 * @returns in the input's dtype; the input itself, not clamped, if it already has this size
 * @throws CraftError `IMAGE_INVALID`
 */
export function resizeWithPad(
  images: Tensor,
  size: ImageSize,
  options: { padValue?: number; range?: readonly [number, number] } = {},
): Tensor {
  checkSizes(images, size, 'resizeWithPad');
  if (hasSize(images, size)) return images;
  const { padValue = 0, range = images.dtype === 'uint8' ? [0, 255] : [0, 1] } = options;
  const [height, width] = size;
  const ratio = Math.max(images.size(-1) / width, images.size(-2) / height);
  const inner: ImageSize = [side(images.size(-2), ratio), side(images.size(-1), ratio)];
  const [down, across] = [height - inner[0], width - inner[1]];
  const [top, left] = [Math.floor(down / 2), Math.floor(across / 2)];
  return scope(() =>
    noGrad(() => {
      const resized = interpolateBatch(images, inner, false).clamp_(...range);
      return constantPadNd(resized, [left, across - left, top, down - top], padValue);
    }),
  );
}

// A very elongated image would round down to nothing: keep one row or column.
function side(pixels: number, ratio: number): number {
  return Math.max(1, Math.trunc(pixels / ratio));
}

/**
 * Refuses anything but a float image `[..., C, H, W]` with one or three channels.
 *
 * @throws CraftError `IMAGE_INVALID` naming the caller and what it got
 */
export function requireImage(image: Tensor, caller: string): void {
  const { shape } = image;
  const channels = shape.at(-3);
  if (shape.length < 3 || (channels !== 1 && channels !== 3)) {
    throw invalid(caller, `expected [..., 1 or 3 channels, height, width], got [${shape}]`);
  }
  if (!image.isFloatingPoint) throw invalid(caller, `expected float values, got ${image.dtype}; see toFloat`);
}

/** @throws CraftError `IMAGE_INVALID` for a negative factor */
export function requireFactor(factor: number, caller: string): void {
  if (!(factor >= 0)) throw invalid(caller, `expected a factor of at least 0, got ${factor}`);
}

export function invalid(caller: string, message: string): CraftError {
  return new CraftError('IMAGE_INVALID', `${caller}: ${message}`);
}
