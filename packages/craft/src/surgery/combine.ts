import {
  isConflict,
  type MergeCoefficients,
  type MergeWeights,
  MIN_RETAIN_NORM_SQ,
  mergeCoefficients,
  mergeWeights,
  type Products,
} from '../coefficients.js';
import type { ConflictMetric, ProjectionMode, SurgeryType } from '../config.js';
import { cagradCoefficients } from './cagrad.js';

/** What a surgery needs to know besides the inner products. */
export interface SurgerySettings {
  /** Which surgery. */
  surgery: SurgeryType;
  /** λ ≥ 0, the value before this step's update. */
  lambda: number;
  mode: ProjectionMode;
  /** Conflict below this. */
  threshold: number;
  /** What `threshold` is a threshold of. */
  metric: ConflictMetric;
  /** Factor on the retention side of the merge: K for `retention_scale: "step"`. */
  retainScale: number;
  /** Radius of CAGrad's trust region, in units of the merged gradient's length. */
  cagradC: number;
}

/** The merged gradient a·g_t + b·g_r, its length, and whether the two conflicted. */
export interface Combination extends MergeCoefficients {
  conflict: boolean;
}

type Surgeon = (
  products: Products,
  weights: MergeWeights,
  settings: SurgerySettings,
  conflict: boolean,
) => [a: number, b: number];

/**
 * Every surgery, as two coefficients of g_t and g_r. All of them need the three inner products and nothing else, so that none costs
 * more than another.
 */
const SURGEONS: Record<SurgeryType, Surgeon> = {
  none: (_, weights) => [weights.task, weights.retain],

  // One-sided PCGrad: only the task's gradient gives way.
  projection: (products, weights, _, conflict) => {
    const { a, b } = mergeCoefficients(products, weights, conflict);
    return [a, b];
  },

  // PCGrad (Yu et al., 2020): each gradient drops its component against the other, as that one was before.
  pcgrad: ({ d, T, R }, { task, retain }, _, conflict) =>
    conflict && T >= MIN_RETAIN_NORM_SQ ? [task - (retain * d) / T, retain - (task * d) / R] : [task, retain],

  // A-GEM (Chaudhry et al., 2019): the gradient nearest to the task's that does not oppose retention; λ has no part in it.
  agem: ({ d, R }) => (d < 0 && R >= MIN_RETAIN_NORM_SQ ? [1, -d / R] : [1, 0]),

  cagrad: (products, weights, { cagradC }) => cagradCoefficients(products, weights, cagradC),
};

/**
 * Decides one surgery: from the inner products of task and retention gradient to the coefficients of their combination.
 *
 * @throws CraftError `PROJECTION_MODE_UNKNOWN`, `CONFLICT_METRIC_UNKNOWN`
 *
 * @example
 * ```ts
 * // g_t = (1, 1), g_r = (-2, 0): the task's component against retention is dropped, then λ·g_r is added.
 * const { a, b } = combine(
 *   { d: -2, T: 2, R: 4 },
 *   { surgery: 'projection', lambda: 0.5, mode: 'weighted', threshold: 0, metric: 'cosine', retainScale: 1, cagradC: 0.5 },
 * );
 * [a, b]; // [1, 1]
 * ```
 */
export function combine(products: Products, settings: SurgerySettings): Combination {
  const conflict = isConflict(products, settings.threshold, settings.metric);
  const weights = mergeWeights(settings.mode, settings.lambda, settings.retainScale);
  const [a, b] = SURGEONS[settings.surgery](products, weights, settings, conflict);
  return { a, b, norm: Math.sqrt(normSquared(products, a, b)), conflict };
}

/**
 * For the steps between two retention steps: the task's gradient without its component against the retention gradient of an earlier
 * step, which is not added.
 */
export function projectOnly(
  products: Products,
  settings: Pick<SurgerySettings, 'threshold' | 'metric'>,
): Combination {
  const conflict = isConflict(products, settings.threshold, settings.metric);
  return { ...mergeCoefficients(products, { task: 1, retain: 0 }, conflict), conflict };
}

/** |a·g_t + b·g_r|², never negative by rounding; NaN stays NaN. */
export function normSquared({ d, T, R }: Products, a: number, b: number): number {
  const value = a * a * T + 2 * a * b * d + b * b * R;
  return Math.max(value, 0);
}
