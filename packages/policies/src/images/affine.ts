import { empty, gridSampler, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';
import { invalid, requireImage } from './image.js';

/** A rotation, scaling and shear about the image's centre, then a shift. */
export interface AffineParameters {
  /** Degrees, clockwise. */
  angle: number;
  /** Pixels to the right and down. Default none. */
  translate?: readonly [number, number];
  /** Default 1. */
  scale?: number;
  /** Degrees along x and y. Default none. */
  shear?: readonly [number, number];
}

const NEAREST = 1;
const ZEROS = 0;

/** Rows [a, b, c], [d, e, f] of the map from output to input pixels, both counted from the centre. */
function inverseMatrix({ angle, translate = [0, 0], scale = 1, shear = [0, 0] }: AffineParameters): number[] {
  const radians = Math.PI / 180;
  const [turn, shearX, shearY] = [angle * radians, shear[0] * radians, shear[1] * radians];
  const a = Math.cos(turn - shearY) / Math.cos(shearY);
  const b = -(a * Math.tan(shearX) + Math.sin(turn));
  const c = Math.sin(turn - shearY) / Math.cos(shearY);
  const d = Math.cos(turn) - c * Math.tan(shearX);
  const [x, y] = translate;
  const rows = [
    [d / scale, -b / scale],
    [-c / scale, a / scale],
  ] as const;
  return rows.flatMap(([alongX, alongY]) => [alongX, alongY, -alongX * x - alongY * y]);
}

/**
 * Applies an affine map, as torchvision's `affine` with its defaults: each output pixel takes the nearest input pixel, and is 0 if
 * that lies outside the image.
 *
 * @param image `[..., 1 or 3, H, W]`, float
 * @throws CraftError `IMAGE_INVALID` for a scale that is not positive
 */
export function affine(image: Tensor, parameters: AffineParameters): Tensor {
  requireImage(image, 'affine');
  const { scale = 1 } = parameters;
  if (!(scale > 0)) throw invalid('affine', `expected a scale above 0, got ${scale}`);
  const [channels = 0, height = 0, width = 0] = image.shape.slice(-3);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = inverseMatrix(parameters);
  return scope(() =>
    noGrad(() => {
      const flat = image.reshape([-1, channels, height, width]);
      // Input coordinates from -1 to 1: a part that grows along a row plus one that grows along a column.
      const axis = (length: number, value: (fromCentre: number) => number, shape: number[]) =>
        tensor(
          Float32Array.from({ length }, (_, i) => value(i - (length - 1) / 2)),
          { dtype: image.dtype, device: image.device, shape },
        );
      const across = (value: (x: number) => number) => axis(width, value, [1, width]);
      const down = (value: (y: number) => number) => axis(height, value, [height, 1]);
      const grid = empty([height, width, 2], { dtype: image.dtype, device: image.device });
      const fill = (place: number, along: Tensor, other: Tensor) =>
        grid
          .select(2, place)
          .copy_(along.expand([height, width]))
          .add_(other);
      fill(
        0,
        across((x) => (2 * a * x) / width),
        down((y) => (2 * (b * y + c)) / width),
      );
      fill(
        1,
        across((x) => (2 * d * x) / height),
        down((y) => (2 * (e * y + f)) / height),
      );
      const grids = grid.expand([flat.size(0), height, width, 2]);
      return gridSampler(flat, grids, NEAREST, ZEROS, false).reshape(image.shape);
    }),
  );
}
