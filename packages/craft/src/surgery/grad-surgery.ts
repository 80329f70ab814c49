/**
 * Gradient surgery: what to do when learning the new task and keeping the old one pull in different directions.
 *
 * g_t is the gradient of the task loss, g_r that of the retention loss, both over all parameters as one long vector. A step
 * along −g_t changes the retention loss by −η⟨g_t, g_r⟩ to first order: a negative inner product means that learning
 * forgets. Then the projection
 *
 *     g_t' = g_t − (⟨g_t, g_r⟩ / |g_r|²) · g_r
 *
 * drops the component of g_t along g_r. Geometrically, g_t' is the shadow of g_t on the plane through the origin with
 * normal g_r, on which the retention loss is constant to first order. It is the point of that plane nearest to g_t, so it
 * changes the task's direction as little as possible: ⟨g_t', g_r⟩ = 0, and |g_t'|² = |g_t|²·(1 − cos²) never exceeds
 * |g_t|². What is left still descends the task loss, since ⟨g_t', g_t⟩ = |g_t'|² ≥ 0. The merge then adds retention back
 * with a weight: for g = g_t' + λ·g_r, ⟨g, g_r⟩ = λ·|g_r|² ≥ 0, so the step never increases the retention loss.
 *
 * The projection is PCGrad's, one-sided: only the task gradient gives way, since retention is a constraint and not a second
 * task. CAGrad looks for a better compromise of all gradients; PCGrad's closed form needs three inner products.
 *
 * Training runs {@link GradientPair}: two flat buffers that are never copied. The functions on lists take one gradient per
 * parameter, null (which counts as zero) where a loss does not reach it, as the original project does, and allocate their results. Both
 * get their coefficients from `combine` in surgery.ts.
 *
 * References: T. Yu et al., Gradient Surgery for Multi-Task Learning (PCGrad), NeurIPS 2020. B. Liu et al.,
 * Conflict-Averse Gradient Descent for Multi-Task Learning (CAGrad), NeurIPS 2021.
 */
import { CraftError, noGrad, optim, type Tensor } from '@craft-ft/torch';
import {
  type ConflictMetric,
  combine,
  combineGroups,
  cosine,
  type GroupedCombination,
  type Products,
  type ProjectionMode,
  type SurgeryGranularity,
  type SurgerySettings,
  sumOf,
  surgeryGroups,
} from './surgery.js';

/**
 * The gradients of the two losses in flat memory, and the surgery on them: one pass over memory for the inner products; the merged
 * gradient is then formed inside the optimiser's own pass and stored nowhere.
 *
 * With gradients that were averaged over several processes beforehand, every process decides the same.
 *
 * @example
 * ```
 * const pair = new GradientPair(optimization.parameters, 'model');
 * pair.task.collect(() => taskLoss.backward());
 * pair.retain.collect(() => retentionLoss.backward());
 * const cut = pair.combine({ lambda: 0.5 });
 * optimization.apply(step, pair.merged(cut), cut.norm);
 * ```
 */
export class GradientPair {
  readonly task: optim.GradBuffer;
  readonly retain: optim.GradBuffer;
  /** Ranges of the inner products, and the surgery group of each. */
  readonly #stretches: readonly { offset: number; length: number }[] | undefined;
  readonly #groups: readonly number[];

  constructor(parameters: optim.FlatParameters, granularity: SurgeryGranularity) {
    this.task = parameters.gradBuffer();
    this.retain = parameters.gradBuffer();
    const whole = granularity === 'model';
    this.#stretches = whole ? undefined : parameters.entries;
    const names = parameters.entries.map(({ name }) => name);
    this.#groups = whole ? [0] : surgeryGroups(names, granularity);
  }

  /** Decides the surgery on the gradients as they are now; changes neither. */
  combine(settings: SurgerySettings): GroupedCombination {
    return combineGroups(
      optim.gram(this.task.flat, this.retain.flat, this.#stretches),
      this.#groups,
      settings,
    );
  }

  /** a·g_t + b·g_r, for the optimiser. */
  merged({ a, b }: Pick<GroupedCombination, 'a' | 'b'>): optim.CombinedGradient {
    return { first: this.task, second: this.retain, a, b };
  }
}

/** A gradient per parameter; null where the loss does not reach the parameter. */
export type Grads = readonly (Tensor | null)[];

/**
 * Inner product of two gradients over all parameters: positive, they cooperate; negative, they conflict.
 *
 * Accumulated in float64 for every dtype; a pair with a missing side contributes nothing.
 *
 * @param grad1 one gradient per parameter, null where missing
 * @param grad2 the same, of the same shapes
 * @returns Σ grad1 · grad2; 0 where nothing overlaps
 * @throws CraftError `GRADS_MISMATCH` where lengths or shapes differ
 *
 * @example
 * ```ts
 * computeDot([torch.tensor([1, 2])], [torch.tensor([3, -4])]); // -5
 * ```
 */
export function computeDot(grad1: Grads, grad2: Grads): number {
  return innerProducts(grad1, grad2).d;
}

/** What {@link projectIfConflict} found and did. */
export interface Projection {
  /** The task gradient, projected on conflict. Entries that did not change are the input's own tensors. */
  projected: (Tensor | null)[];
  conflict: boolean;
  /** ⟨g_t, g_r⟩ before the projection. */
  dot: number;
  /** dot / (|g_t|·|g_r| + 1e-12), before the projection. */
  cos: number;
  normSqTask: number;
  normSqRetain: number;
}

/**
 * Projects the task gradient onto the plane normal to the retention gradient, if the two conflict (after PCGrad).
 *
 * Conflict is a cosine, or with `metric: 'dot'` an inner product, below `threshold`, while |g_r|² is at least 1e-12. Where
 * the projection runs, a parameter that only the retention loss reaches gets −(d / |g_r|²)·g_r, as if its task gradient
 * were zero: otherwise the result would not be orthogonal to g_r. The original leaves such entries out, and its inner
 * product is always the raw one (`dot`), though its documentation speaks of a cosine.
 *
 * @param gradTask one gradient per parameter, null where missing; never modified
 * @param gradRetain the same for the retention loss; never modified
 * @param threshold conflict below this, default −0.1; 0: any opposition; above 1 (cosine): always
 * @param options `metric`: `cosine` (default, independent of the gradients' scale) or `dot`
 * @throws CraftError `GRADS_MISMATCH` where lengths or shapes differ
 *
 * @example
 * ```ts
 * const { projected, conflict } = projectIfConflict([torch.tensor([1, 1])], [torch.tensor([-2, 0])]);
 * conflict; // true
 * projected[0]?.tolist(); // [0, 1]
 * ```
 */
export function projectIfConflict(
  gradTask: Grads,
  gradRetain: Grads,
  threshold = -0.1,
  { metric = 'cosine' }: { metric?: ConflictMetric } = {},
): Projection {
  const products = innerProducts(gradTask, gradRetain);
  const { d: dot, T: normSqTask, R: normSqRetain } = products;
  // λ = 0 leaves the projected task gradient alone.
  const { a, b, conflict } = combine(products, { lambda: 0, threshold, metric });
  const projected = conflict ? weightedSum(gradTask, gradRetain, a, b) : [...gradTask];
  return { projected, conflict, dot, cos: cosine(products), normSqTask, normSqRetain };
}

/**
 * Merges the (projected) task gradient with the retention gradient.
 *
 * Modes: `weighted` g_t + λ·g_r, the gradient of the Lagrangian; `equal` ½·(g_t + g_r), λ unused; `task_priority`
 * g_t + min(λ, 1)·g_r. A missing side counts as zero, so a parameter that only the retention loss reaches is still
 * protected (the original drops its gradient) and `equal` halves a gradient without a partner.
 *
 * @param gradTask one gradient per parameter, null where missing; never modified
 * @param gradRetain the same for the retention loss; never modified
 * @param lambdaWeight λ ≥ 0, the value before this step's update
 * @param mode default `weighted`
 * @returns new tensors; null where both sides are missing, so that an optimiser leaves the parameter alone
 * @throws CraftError `GRADS_MISMATCH` where lengths or shapes differ; `PROJECTION_MODE_UNKNOWN`
 *
 * @example
 * ```ts
 * const [merged] = mergeGrads([torch.tensor([1, 0])], [torch.tensor([0, 2])], 0.5, 'weighted');
 * merged?.tolist(); // [1, 1]
 * ```
 */
export function mergeGrads(
  gradTask: Grads,
  gradRetain: Grads,
  lambdaWeight: number,
  mode: ProjectionMode = 'weighted',
): (Tensor | null)[] {
  checkPairs(gradTask, gradRetain);
  // A plain merge looks at no inner product.
  const { a, b } = combine({ d: 0, T: 0, R: 0 }, { surgery: 'none', lambda: lambdaWeight, mode });
  return weightedSum(gradTask, gradRetain, a, b, true);
}

/**
 * ⟨g_t, g_r⟩, |g_t|² and |g_r|² over all parameters, reading both gradients once.
 *
 * @throws CraftError `GRADS_MISMATCH`
 */
export function innerProducts(gradTask: Grads, gradRetain: Grads): Products {
  checkPairs(gradTask, gradRetain);
  return sumOf(optim.gramOfPairs(gradTask.map((task, i) => [task, gradRetain[i]!] as const)));
}

function checkPairs(gradTask: Grads, gradRetain: Grads): void {
  if (gradTask.length !== gradRetain.length) {
    const counts = `${gradTask.length} task gradients and ${gradRetain.length} retention gradients`;
    throw new CraftError(
      'GRADS_MISMATCH',
      `${counts}: pass one entry per parameter, null where it is missing`,
    );
  }
  gradTask.forEach((task, i) => {
    const [left, right] = [task?.shape, gradRetain[i]?.shape];
    if (left === undefined || right === undefined || left.join() === right.join()) return;
    const shapes = `[${left}] (task) and [${right}] (retention)`;
    throw new CraftError(
      'GRADS_MISMATCH',
      `gradient ${i} has shapes ${shapes}: both must be the parameter's`,
    );
  });
}

/** a·g_t + b·g_r; with a = 1 and no g_r, g_t itself unless `copy`. */
function weightedSum(
  gradTask: Grads,
  gradRetain: Grads,
  a: number,
  b: number,
  copy = false,
): (Tensor | null)[] {
  return noGrad(() =>
    gradTask.map((task, i) => {
      const retain = gradRetain[i]!;
      if (retain === null) return task === null || (a === 1 && !copy) ? task : task.mul(a);
      if (task === null) return retain.mul(b);
      return a === 1 ? task.add(retain, { alpha: b }) : task.mul(a).add_(retain, { alpha: b });
    }),
  );
}
