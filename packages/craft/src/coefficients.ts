import { CraftError } from '@craft-ft/torch';
import type { ConflictMetric, ProjectionMode } from './config.js';

/**
 * The arithmetic of gradient surgery on plain numbers: what to decide and how to weigh, once the three inner products of
 * the two gradients are known. Both forms of the surgery (lists and flat buffers) and every future kernel share it.
 */

/** The inner products of the task gradient g_t and the retention gradient g_r; a missing gradient counts as zero. */
export interface Products {
  /** ⟨g_t, g_r⟩. */
  d: number;
  /** |g_t|². */
  T: number;
  /** |g_r|². */
  R: number;
}

/** Below this |g_r|² there is nothing to protect, and d / R would amplify rounding: never a conflict. */
export const MIN_RETAIN_NORM_SQ = 1e-12;

const COSINE_EPS = 1e-12;

/**
 * Cosine of the angle between the two gradients, d / (√T · √R + 1e-12): 0 where either vanishes, NaN where either
 * overflowed.
 */
export function cosine({ d, T, R }: Products): number {
  return d / (Math.sqrt(T) * Math.sqrt(R) + COSINE_EPS);
}

/**
 * Whether the gradients conflict: cosine (or dot product) below the threshold, and |g_r|² at least 1e-12.
 *
 * A threshold of 0 means any opposition; above 1 (cosine) or `Infinity` (either metric) means always. Products that are
 * not finite never conflict; the merged norm is not finite then, and that is what a training loop checks.
 *
 * @throws CraftError `CONFLICT_METRIC_UNKNOWN`
 */
export function isConflict(products: Products, threshold: number, metric: ConflictMetric): boolean {
  if (metric !== 'cosine' && metric !== 'dot') {
    throw new CraftError(
      'CONFLICT_METRIC_UNKNOWN',
      `conflict_metric: ${metric} is unknown; use cosine or dot`,
    );
  }
  const value = metric === 'cosine' ? cosine(products) : products.d;
  return products.R >= MIN_RETAIN_NORM_SQ && value < threshold;
}

/** How much of each gradient a merge mode takes. */
export interface MergeWeights {
  task: number;
  retain: number;
}

/**
 * Weights of a merge: `weighted` 1 and λ, `equal` ½ and ½, `task_priority` 1 and min(λ, 1).
 *
 * @param retainScale further factor on the retention side (K for `retention_scale: "step"`), default 1
 * @throws CraftError `PROJECTION_MODE_UNKNOWN`
 */
export function mergeWeights(mode: ProjectionMode, lambda: number, retainScale = 1): MergeWeights {
  switch (mode) {
    case 'weighted':
      return { task: 1, retain: lambda * retainScale };
    case 'equal':
      return { task: 0.5, retain: 0.5 * retainScale };
    case 'task_priority':
      return { task: 1, retain: Math.min(lambda, 1) * retainScale };
    default: {
      const unknown: never = mode;
      const known = 'use weighted, equal or task_priority';
      throw new CraftError('PROJECTION_MODE_UNKNOWN', `projection_mode: ${unknown} is unknown; ${known}`);
    }
  }
}

/** The merged gradient g = a·g_t + b·g_r, and its length. */
export interface MergeCoefficients {
  a: number;
  b: number;
  /** |g|, before any clipping. */
  norm: number;
}

/**
 * Folds projection and merge into one linear combination, and takes its length from the products alone.
 *
 * With weights (w_t, w_r) the merge of the projected gradient is w_t·(g_t − (d/R)·g_r) + w_r·g_r, hence a = w_t and
 * b = w_r − w_t·d/R: the projection is scaled by the task's weight, which matters for `equal`, where b = ½ − ½·d/R, and
 * leaves `weighted` at λ − d/R and `task_priority` at min(λ, 1) − d/R. Then |g|² = a²T + 2ab·d + b²R.
 *
 * The sum can cancel, so |g| is good to about 1e-8 of √(a²T), and never NaN by a negative square.
 */
export function mergeCoefficients(
  { d, T, R }: Products,
  weights: MergeWeights,
  projected: boolean,
): MergeCoefficients {
  const a = weights.task;
  const b = projected ? weights.retain - (a * d) / R : weights.retain;
  return { a, b, norm: Math.sqrt(Math.max(0, a * a * T + 2 * a * b * d + b * b * R)) };
}
