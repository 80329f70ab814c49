import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import {
  cosine,
  isConflict,
  type MergeCoefficients,
  mergeCoefficients,
  mergeWeights,
  type Products,
} from './coefficients.js';
import type { ConflictMetric, ProjectionMode } from './config.js';

/** What {@link surgery} needs to know besides the gradients. */
export interface SurgeryOptions {
  /** λ ≥ 0, the value before this step's update. */
  lambda: number;
  /** Default `weighted`. */
  mode?: ProjectionMode;
  /** Project on conflict. Default true; false still reports `conflict`. */
  project?: boolean;
  /** Conflict below this. Default −0.1. */
  threshold?: number;
  /** What `threshold` is a threshold of. Default `cosine`. */
  metric?: ConflictMetric;
  /** Factor on the retention side of the merge: K for `retention_scale: "step"`. Default 1. */
  retainScale?: number;
}

/** Inner products, decision and coefficients of one step; all of it numbers, no tensor. */
export interface Surgery extends Products, MergeCoefficients {
  cos: number;
  conflict: boolean;
}

/**
 * Decides a step's surgery on two flat gradient buffers in one pass over memory, and changes neither.
 *
 * The merged gradient is a·g_t + b·g_r. Training never stores it: `Optimization.applyMerged` folds a and b into the
 * optimiser's pass over memory ({@link applyMerge_} writes it, for looking at). `norm` is its length, known before it exists, for
 * clipping. With gradients averaged over several processes beforehand, every process decides the same.
 *
 * @param flatTask gradient of the task loss over all parameters, zero where missing: [n], any floating dtype
 * @param flatRetain the same for the retention loss
 * @throws CraftError `GRADS_MISMATCH`, `PROJECTION_MODE_UNKNOWN`, `CONFLICT_METRIC_UNKNOWN`
 *
 * @example
 * ```ts
 * const flatTask = torch.tensor([1, 1]);
 * const flatRetain = torch.tensor([-2, 0]);
 * const { a, b, norm } = surgery(flatTask, flatRetain, { lambda: 0.5 });
 * [a, b, norm]; // [1, 1, Math.SQRT2]
 * applyMerge_(flatTask, flatRetain, a, b).tolist(); // [-1, 1]
 * ```
 */
export function surgery(flatTask: Tensor, flatRetain: Tensor, options: SurgeryOptions): Surgery {
  const {
    lambda,
    mode = 'weighted',
    project = true,
    threshold = -0.1,
    metric = 'cosine',
    retainScale = 1,
  } = options;
  const [products] = torch.optim.gram(flatTask, flatRetain) as [Products];
  const conflict = isConflict(products, threshold, metric);
  const weights = mergeWeights(mode, lambda, retainScale);
  return {
    ...products,
    cos: cosine(products),
    conflict,
    ...mergeCoefficients(products, weights, project && conflict),
  };
}

/**
 * flatTask ← a·flatTask + b·flatRetain, in place: no gradient is copied.
 *
 * @returns `flatTask`
 */
export function applyMerge_(flatTask: Tensor, flatRetain: Tensor, a: number, b: number): Tensor {
  torch.noGrad(() => {
    if (a !== 1) flatTask.mul_(a);
    flatTask.add_(flatRetain, { alpha: b });
  });
  return flatTask;
}
