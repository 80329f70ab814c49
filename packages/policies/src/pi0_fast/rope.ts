import { arange, cat, type DType, full, type Tensor } from '@craft-ft/torch';

/** Cosines and sines of every position, `[B, L, 1, headDim / 2]`. */
export interface Rotations {
  cos: Tensor;
  sin: Tensor;
}

/**
 * Rotary position embedding (Su et al., 2021): angle i of position p is p · 10000^(−2i / headDim). Angles are computed in float32.
 *
 * @param positions int64 `[B, L]`; −1 is allowed
 */
export function rotations(positions: Tensor, headDim: number, dtype: DType): Rotations {
  const device = positions.device;
  const exponents = arange(0, headDim, 2, { dtype: 'float32', device }).div(headDim);
  const frequencies = full([], 10_000, { dtype: 'float32', device }).pow(exponents).reciprocal();
  const angles = positions.to('float32').unsqueeze(-1).mul(frequencies).unsqueeze(2);
  return { cos: angles.cos().to(dtype), sin: angles.sin().to(dtype) };
}

/**
 * Rotates the pairs (i, i + headDim / 2) of every head.
 *
 * @param x `[B, L, heads, headDim]`
 */
export function rotate(x: Tensor, { cos, sin }: Rotations): Tensor {
  const [first, second] = x.chunk(2, -1) as [Tensor, Tensor];
  return cat([first.mul(cos).addcmul(second, sin, { value: -1 }), second.mul(cos).addcmul(first, sin)], -1);
}
