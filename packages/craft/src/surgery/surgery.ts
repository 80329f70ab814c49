/**
 * Gradient surgery as a decision on numbers: from the inner products of the task gradient g_t and the retention gradient g_r to the
 * coefficients of the update a·g_t + b·g_r. Nothing here touches a tensor; grad-surgery.ts applies it to gradients.
 */
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { cagrad } from './cagrad.js';

/** What is done about two gradients that pull in different directions. */
export const surgerySchema = z.enum(['projection', 'none', 'pcgrad', 'agem', 'cagrad']);
export type SurgeryType = z.infer<typeof surgerySchema>;

/** The unit that the surgery decides on. */
const surgeryGranularitySchema = z.enum(['model', 'module', 'tensor']);
export type SurgeryGranularity = z.infer<typeof surgeryGranularitySchema>;

/** What `conflict_threshold` is a threshold of. */
const conflictMetricSchema = z.enum(['cosine', 'dot']);
export type ConflictMetric = z.infer<typeof conflictMetricSchema>;

/** How the task gradient and the retention gradient become one. */
const projectionModeSchema = z.enum(['weighted', 'equal', 'task_priority']);
export type ProjectionMode = z.infer<typeof projectionModeSchema>;

/** Fields of the craft configuration that say how two gradients become one. */
export const surgeryFields = {
  surgery: surgerySchema
    .default('projection')
    .describe(
      'What is done about a conflict. projection: the task gradient drops its component against retention, then both are merged ' +
        '(one-sided PCGrad). pcgrad: both drop theirs. agem: only on opposition, and retention is not added, so that λ has no ' +
        'effect (A-GEM). cagrad: near the merged gradient, whatever helps the worse-off of the two most. none: merge only.',
    ),
  use_grad_projection: z
    .boolean()
    .default(true)
    .describe(
      'On conflict, remove from the task gradient its component against the retention gradient (PCGrad), before both are ' +
        'merged. false: as surgery=none.',
    ),
  conflict_threshold: z
    .number()
    .default(-0.1)
    .describe(
      'Conflict is a cosine (or dot product, see conflict_metric) below this. Typical: -0.3 to 0; more negative projects ' +
        'less often, 0 on any opposition, above 1 at every retention step. For projection and pcgrad; agem always takes 0.',
    ),
  conflict_metric: conflictMetricSchema
    .default('cosine')
    .describe(
      'What conflict_threshold is compared with. cosine: in [-1, 1], whatever the size of the gradients. dot: the raw dot ' +
        'product, as the original code does; its scale depends on the model.',
    ),
  projection_mode: projectionModeSchema
    .default('weighted')
    .describe(
      'Merge of task gradient t and retention gradient r. weighted: t + λ r, the Lagrangian; equal: (t + r) / 2, where λ ' +
        'has no effect; task_priority: t + min(λ, 1) r, so that retention never outweighs the task. With retention_scale=step ' +
        'r counts K times, but in task_priority never more than the task: t + min(K λ, 1) r.',
    ),
  cagrad_c: z
    .number()
    .min(0)
    .lt(1)
    .default(0.5)
    .describe(
      'cagrad: how far from the merged gradient to look, as a share of its length. 0: none; 0.4 to 0.5 is usual.',
    ),
  surgery_granularity: surgeryGranularitySchema
    .default('model')
    .describe(
      'What conflict and surgery are decided for. model: all parameters as one vector; module: each block (layer) on its own; ' +
        'tensor: each parameter. Finer finds conflicts that cancel in the whole, and projects more.',
    ),
};

/** The inner products of the task gradient g_t and the retention gradient g_r; a missing gradient counts as zero. */
export interface Products {
  /** ⟨g_t, g_r⟩. */
  d: number;
  /** |g_t|². */
  T: number;
  /** |g_r|². */
  R: number;
}

/** What a surgery needs to know besides the inner products. */
export interface SurgerySettings {
  /** Which surgery. Default `projection`. */
  surgery?: SurgeryType;
  /** λ ≥ 0, the value before this step's update. */
  lambda: number;
  /** Default `weighted`. */
  mode?: ProjectionMode;
  /** Conflict below this. Default −0.1; 0 means any opposition, above 1 (cosine) or `Infinity` (either metric) always. */
  threshold?: number;
  /** What `threshold` is a threshold of. Default `cosine`. */
  metric?: ConflictMetric;
  /** Factor on the retention side of the merge: K for `retention_scale: "step"`. Default 1. */
  retainScale?: number;
  /** Radius of CAGrad's trust region, in units of the merged gradient's length. Default 0.5. */
  cagradC?: number;
}

/** The update a·g_t + b·g_r. */
export interface Combination {
  a: number;
  b: number;
  /** |a·g_t + b·g_r|, before any clipping. */
  norm: number;
  /** Whether the two gradients conflicted. */
  conflict: boolean;
}

/**
 * Decides one surgery. Every kind needs only the three inner products, so all cost the same:
 *
 * | surgery | without a conflict | with one |
 * | --- | --- | --- |
 * | `none` | w_t·g_t + w_r·g_r | the same |
 * | `projection` | the same | w_t·(g_t − (d/R)·g_r) + w_r·g_r: one-sided PCGrad, only the task gives way |
 * | `pcgrad` (Yu et al., 2020) | the same | w_t·(g_t − (d/R)·g_r) + w_r·(g_r − (d/T)·g_t) |
 * | `agem` (Chaudhry et al., 2019) | g_t | g_t − (d/R)·g_r, the nearest to g_t that does not oppose g_r |
 * | `cagrad` (Liu et al., 2021) | near the merge | near the merge, see cagrad.ts |
 *
 * The merge mode gives the weights: (1, λ) for `weighted`, (½, ½) for `equal`, (1, min(λ, 1)) for `task_priority`, w_r times
 * `retainScale` but in `task_priority` at most 1. A-GEM has no weights.
 *
 * A conflict is a cosine (or inner product) below the threshold, with A-GEM an inner product below 0, while |g_r|² is at least 1e-12.
 * Products that are not finite never conflict; the norm is not finite then, and that is what a training loop checks.
 *
 * The norm comes from the products alone, |g|² = a²T + 2ab·d + b²R. The sum can cancel, so it is good to about 1e-8 of √(a²T).
 *
 * @throws CraftError `PROJECTION_MODE_UNKNOWN`, `CONFLICT_METRIC_UNKNOWN`
 *
 * @example
 * ```ts
 * // g_t = (1, 1), g_r = (-2, 0): the task's component against retention is dropped, then λ·g_r is added.
 * const { a, b } = combine({ d: -2, T: 2, R: 4 }, { lambda: 0.5 });
 * [a, b]; // [1, 1]
 * ```
 */
export function combine(products: Products, settings: SurgerySettings): Combination {
  const { surgery = 'projection', threshold = -0.1, metric = 'cosine', cagradC = 0.5 } = settings;
  const { d, T, R } = products;
  const conflict =
    surgery === 'agem' ? isConflict(products, 0, 'dot') : isConflict(products, threshold, metric);
  const [wt, wr] = mergeWeights(settings);
  let [a, b] = [wt, wr];
  if (surgery === 'agem') [a, b] = [1, conflict ? -d / R : 0];
  else if (surgery === 'cagrad') [a, b] = cagrad(products, wt, wr, cagradC);
  else if (surgery === 'projection' && conflict) b = wr - (wt * d) / R;
  else if (surgery === 'pcgrad' && conflict && T >= MIN_NORM_SQ)
    [a, b] = [wt - (wr * d) / T, wr - (wt * d) / R];
  return { a, b, norm: Math.sqrt(normSquared(products, a, b)), conflict };
}

/** A squared norm below this counts as zero; dividing by it would amplify rounding errors. */
const MIN_NORM_SQ = 1e-12;

function isConflict(products: Products, threshold: number, metric: ConflictMetric): boolean {
  if (metric !== 'cosine' && metric !== 'dot') {
    throw new CraftError(
      'CONFLICT_METRIC_UNKNOWN',
      `conflict_metric: ${metric} is unknown; use cosine or dot`,
    );
  }
  const value = metric === 'cosine' ? cosine(products) : products.d;
  return products.R >= MIN_NORM_SQ && value < threshold;
}

/** Cosine of the angle between the gradients, d / (√T · √R + 1e-12): 0 where either vanishes, NaN where either overflowed. */
export function cosine({ d, T, R }: Products): number {
  return d / (Math.sqrt(T) * Math.sqrt(R) + 1e-12);
}

function mergeWeights({
  mode = 'weighted',
  lambda,
  retainScale = 1,
}: SurgerySettings): [task: number, retain: number] {
  if (mode === 'weighted') return [1, lambda * retainScale];
  if (mode === 'equal') return [0.5, 0.5 * retainScale];
  if (mode === 'task_priority') return [1, Math.min(lambda * retainScale, 1)];
  const known = 'use weighted, equal or task_priority';
  throw new CraftError('PROJECTION_MODE_UNKNOWN', `projection_mode: ${mode} is unknown; ${known}`);
}

// Never negative by rounding; NaN stays NaN.
function normSquared({ d, T, R }: Products, a: number, b: number): number {
  return Math.max(0, a * a * T + 2 * a * b * d + b * b * R);
}

/**
 * Which group of the surgery each parameter belongs to: all in one (`model`), one for each repeated block or layer (`module`), or each
 * on its own (`tensor`).
 *
 * A block is a name up to its first number (`model.encoder.layers.0`, `model.backbone.layer1.0`); a parameter outside of
 * blocks belongs to the layer that owns it (`model.action_head`).
 *
 * @param names of the parameters, as in the state dict
 * @returns per parameter the index of its group, from 0
 */
export function surgeryGroups(names: readonly string[], granularity: SurgeryGranularity): number[] {
  if (granularity === 'model') return names.map(() => 0);
  if (granularity === 'tensor') return names.map((_, i) => i);
  const groups = new Map<string, number>();
  return names.map((name) => {
    const parts = name.split('.');
    const numbered = parts.findIndex((part) => /^\d+$/.test(part));
    const block = parts.slice(0, numbered < 0 ? -1 : numbered + 1).join('.');
    if (!groups.has(block)) groups.set(block, groups.size);
    return groups.get(block)!;
  });
}

/** The decision for every parameter, and the totals over the whole model. */
export interface GroupedCombination extends Products {
  /** Per parameter, or one number where all share it. */
  a: number | number[];
  b: number | number[];
  /** |g| of the merged gradient. */
  norm: number;
  /** Share of the groups in conflict; with one group 0 or 1. */
  conflictShare: number;
}

/**
 * {@link combine} for each group on its own.
 *
 * @param perEntry inner products of each parameter
 * @param groups as {@link surgeryGroups} gives them
 */
export function combineGroups(
  perEntry: readonly Products[],
  groups: readonly number[],
  settings: SurgerySettings,
): GroupedCombination {
  const sums: Products[] = [];
  perEntry.forEach((products, i) => {
    sums[groups[i]!] = sumOf([sums[groups[i]!] ?? { d: 0, T: 0, R: 0 }, products]);
  });
  const decisions = sums.map((products) => combine(products, settings));
  const spread = (key: 'a' | 'b') =>
    decisions.length === 1 ? decisions[0]![key] : groups.map((group) => decisions[group]![key]);
  return {
    ...sumOf(sums),
    a: spread('a'),
    b: spread('b'),
    norm: Math.sqrt(decisions.reduce((sum, { a, b }, i) => sum + normSquared(sums[i]!, a, b), 0)),
    conflictShare: decisions.filter(({ conflict }) => conflict).length / decisions.length,
  };
}

/** Sum of the products over several ranges. */
export function sumOf(parts: readonly Products[]): Products {
  return parts.reduce((sum, { d, T, R }) => ({ d: sum.d + d, T: sum.T + T, R: sum.R + R }), {
    d: 0,
    T: 0,
    R: 0,
  });
}
