import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import { requireFactor, requireImage } from './check.js';

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
