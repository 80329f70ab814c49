import { CraftError } from '../errors.js';
import * as ops from '../generated/ops.js';
import { hasOperator } from '../operator.js';
import type { Tensor } from '../tensor.js';

/** How a loss over many elements becomes one number; `none` keeps them. */
export type Reduction = 'none' | 'mean' | 'sum';

const REDUCTIONS: Record<Reduction, number> = { none: 0, mean: 1, sum: 2 };

/** Mean (or sum) of |input − target|. */
export function l1Loss(input: Tensor, target: Tensor, reduction: Reduction = 'mean'): Tensor {
  return ops.l1Loss(input, target, REDUCTIONS[reduction]);
}

/** Mean (or sum) of (input − target)². */
export function mseLoss(input: Tensor, target: Tensor, reduction: Reduction = 'mean'): Tensor {
  return ops.mseLoss(input, target, REDUCTIONS[reduction]);
}

/**
 * Cross-entropy between logits `[N, C, ...]` and classes `[N, ...]` (int64) or class probabilities of the logits' shape, as
 * `torch.nn.functional.cross_entropy`.
 */
export function crossEntropy(
  input: Tensor,
  target: Tensor,
  options: { weight?: Tensor; reduction?: Reduction; ignoreIndex?: number; labelSmoothing?: number } = {},
): Tensor {
  const { weight = null, reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0 } = options;
  return ops.crossEntropyLoss(input, target, weight, REDUCTIONS[reduction], ignoreIndex, labelSmoothing);
}

/**
 * softmax(q·kᵀ / √E + mask)·v over `[..., L, E]`, `[..., S, E]`, `[..., S, Ev]`, by libtorch's fused operator where it has one
 * (2.0 and later), else composed.
 *
 * @param options.attnMask bool (true = may attend) or additive, broadcastable to `[..., L, S]`
 * @param options.dropoutP probability of dropping an attention weight; the caller passes 0 in evaluation. Default 0
 * @param options.isCausal position i sees positions ≤ i; not together with `attnMask`
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: { attnMask?: Tensor | null; dropoutP?: number; isCausal?: boolean; scale?: number } = {},
): Tensor {
  const { attnMask = null, dropoutP = 0, isCausal = false, scale } = options;
  if (isCausal && attnMask !== null) {
    throw new CraftError(
      'ARGUMENT_INVALID',
      'scaledDotProductAttention: isCausal and attnMask exclude each other',
    );
  }
  if (scale === undefined && hasOperator('scaled_dot_product_attention')) {
    return ops.scaledDotProductAttention(query, key, value, attnMask, dropoutP, isCausal);
  }
  return composedAttention(query, key, value, attnMask, dropoutP, isCausal, scale);
}

/** The composed form, for libtorch before 2.0. Exported for the test that compares the two. */
export function composedAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  attnMask: Tensor | null,
  dropoutP: number,
  isCausal: boolean,
  scale = 1 / Math.sqrt(query.size(-1)),
): Tensor {
  let scores = query.mul(scale).matmul(key.transpose(-2, -1));
  if (isCausal) {
    const allowed = ops.ones([query.size(-2), key.size(-2)], { dtype: 'bool', device: query.device }).tril();
    scores = scores.maskedFill(allowed.logicalNot(), Number.NEGATIVE_INFINITY);
  } else if (attnMask !== null) {
    scores =
      attnMask.dtype === 'bool'
        ? scores.maskedFill(attnMask.logicalNot(), Number.NEGATIVE_INFINITY)
        : scores.add(attnMask);
  }
  const weights = scores.softmax(-1);
  return ops.dropout(weights, dropoutP, dropoutP > 0).matmul(value);
}

/**
 * Resizes `[N, C, H, W]`, as `torch.nn.functional.interpolate`.
 *
 * @param options.size [height, width]
 * @param options.mode default `bilinear`
 * @param options.antialias low-pass before shrinking (bilinear and bicubic). Default false
 */
export function interpolate(
  input: Tensor,
  options: {
    size: readonly [number, number];
    mode?: 'nearest' | 'bilinear' | 'bicubic';
    alignCorners?: boolean;
    antialias?: boolean;
  },
): Tensor {
  const { size, mode = 'bilinear', alignCorners = false, antialias = false } = options;
  if (mode === 'nearest') return ops.upsampleNearest2d(input, size, null);
  if (mode === 'bilinear') {
    const resize = antialias ? ops.upsampleBilinear2dAa : ops.upsampleBilinear2d;
    return resize(input, size, alignCorners, null);
  }
  const resize = antialias ? ops.upsampleBicubic2dAa : ops.upsampleBicubic2d;
  return resize(input, size, alignCorners, null);
}
