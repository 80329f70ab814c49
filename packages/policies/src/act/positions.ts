import { arange, cat, noGrad, ones, scope, stack, type Tensor, tensor } from '@craft-ft/torch';

/** Dimensions come in pairs of sine and cosine with the same wavelength (over 2π). */
function wavelength(d: number, dimension: number): number {
  return 10_000 ** ((2 * Math.floor(d / 2)) / dimension);
}

/**
 * Sinusoidal position embeddings `[positions, dimension]` of Vaswani et al. (2017): sin(p / 10000^(2i/d)) at even, cos at odd
 * dimensions. Computed in double precision, then rounded, as LeRobot's `create_sinusoidal_pos_embedding`.
 */
export function sinusoidalPositions(positions: number, dimension: number): Tensor {
  const table = new Float32Array(positions * dimension);
  for (let p = 0; p < positions; p++) {
    for (let d = 0; d < dimension; d++) {
      const angle = p / wavelength(d, dimension);
      table[p * dimension + d] = d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return tensor(table, { shape: [positions, dimension] });
}

/**
 * Position embeddings of a grid of image features, `[height · width, 2 · dimension]`, rows first: `dimension` values of the row,
 * then of the column, both scaled to (0, 2π]. LeRobot's `ACTSinusoidalPositionEmbedding2d`.
 */
export function gridPositions(height: number, width: number, dimension: number, device: string): Tensor {
  return scope(() =>
    noGrad(() => {
      const divisor = tensor(
        Float32Array.from({ length: dimension }, (_, d) => wavelength(d, dimension)),
        { device },
      );
      const axis = (size: number) => {
        const steps = arange(1, size + 1, 1, { dtype: 'float32', device });
        const angles = steps
          .div(size + 1e-6)
          .mul(2 * Math.PI)
          .unsqueeze(1)
          .div(divisor)
          .view([size, -1, 2]);
        return stack([angles.select(2, 0).sin(), angles.select(2, 1).cos()], 2).view([size, dimension]);
      };
      const grid = ones([height, width, 1], { device });
      const rows = axis(height).unsqueeze(1).mul(grid);
      const columns = axis(width).unsqueeze(0).mul(grid);
      return cat([rows, columns], 2).view([height * width, 2 * dimension]);
    }),
  );
}
