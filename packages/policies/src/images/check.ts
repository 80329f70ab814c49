import { CraftError, type Tensor } from '@craft-ft/torch';

/**
 * Refuses what is no float image `[..., C, H, W]` with one or three channels.
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
