import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import { invalid } from './check.js';

/** Whether channels come last, as decoders write them, or before height and width, as policies read them. */
export type ImageLayout = 'hwc' | 'chw';

const isChannels = (size: number | undefined) => size === 1 || size === 3;

/** The layout that a shape shows. @throws CraftError `IMAGE_INVALID` where it shows none or both */
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
 * @param layout of the input. Default: told by which dimension is 1 or 3
 * @throws CraftError `IMAGE_INVALID` for a shape that is no image's, or whose layout cannot be told
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
