import { noGrad } from '../grad-mode.js';
import type { Tensor } from '../tensor.js';
import { fusedGram } from './kernels.js';
import { sumOverChunks } from './sweep.js';

/** Euclidean norm of a flat buffer, accumulated in float64. */
export function gradNorm(flat: Tensor): number {
  const fused = fusedGram(flat, null, [{ offset: 0, length: flat.numel }]);
  if (fused !== null) return Math.sqrt(fused[0].T);
  return Math.sqrt(
    noGrad(() => sumOverChunks([flat], (piece) => piece.square().sum({ dtype: 'float64' }).item())),
  );
}

/** The factor that brings a gradient of norm `totalNorm` to at most `maxNorm`: min(1, maxNorm / (totalNorm + 1e-6)), as PyTorch. */
export function clipFactor(totalNorm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (totalNorm + 1e-6));
}

/**
 * Scales a gradient in place so that its norm is at most `maxNorm`, as `torch.nn.utils.clip_grad_norm_`. An optimiser's `step`
 * takes the factor of `clipFactor` instead, and saves a pass over memory.
 *
 * @param totalNorm the norm, where the caller knows it already
 * @returns the norm before clipping
 */
export function clipGradNorm_(flat: Tensor, maxNorm: number, totalNorm = gradNorm(flat)): number {
  const factor = clipFactor(totalNorm, maxNorm);
  if (factor < 1) noGrad(() => flat.mul_(factor));
  return totalNorm;
}
