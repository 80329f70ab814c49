import { inEvaluationMode, type Policy, type TensorBatch } from '@craft-ft/policies';
import { noGrad, type optim, scope, type Tensor } from '@craft-ft/torch';
import { type LossNumbers, lossAndGradient } from '@craft-ft/training';
import type { StartingWeights } from './starting-weights.js';
import type { RetentionTerm } from './term.js';

/** A term with its weight in the sum. */
export interface WeightedTerm {
  readonly term: RetentionTerm;
  readonly weight: number;
}

/**
 * L_retain: the weighted sum of one or several retention terms on a batch of anchors.
 *
 * Each term runs forward and backward before the next begins, so that several need no more memory than the largest.
 */
export class RetentionObjective {
  /** @param teacher asked for the targets that a batch does not bring; null where every batch brings them */
  constructor(
    readonly terms: readonly WeightedTerm[],
    readonly teacher: StartingWeights | null = null,
  ) {}

  /** The loss of a batch; `scale` times its gradient is added to `gradient`. @throws CraftError `LOSS_NOT_FINITE` */
  gradient(
    policy: Policy,
    anchors: TensorBatch,
    gradient: optim.GradBuffer,
    what: string,
    scale: number,
  ): LossNumbers {
    const batch = this.withTargets(policy, anchors);
    const parts = this.terms.map(({ term, weight }) =>
      scope(() => {
        const forward = () => term.loss(policy, batch);
        const both = () => lossAndGradient(forward, gradient, this.#name(what, term), weight * scale);
        // The backward pass computes checkpointed layers again: in the same mode, or it would not be the same function.
        return term.evaluation ? inEvaluationMode(policy, both) : both();
      }),
    );
    return this.#sum(parts);
  }

  /** The loss alone. */
  measure(policy: Policy, anchors: TensorBatch): number {
    return noGrad(() =>
      scope(() => {
        const batch = this.withTargets(policy, anchors);
        const values = this.terms.map(({ term, weight }) =>
          scope(() => {
            const value = () => weight * term.loss(policy, batch).loss.item();
            return term.evaluation ? inEvaluationMode(policy, value) : value();
          }),
        );
        return values.reduce((sum, value) => sum + value, 0);
      }),
    );
  }

  /** The batch with every target that a term needs and the batch does not have. */
  withTargets(policy: Policy, batch: TensorBatch): TensorBatch {
    const { teacher } = this;
    const missing = this.terms.flatMap(({ term }) =>
      term.target === null || batch[term.target.key] !== undefined ? [] : [term.target],
    );
    if (teacher === null || missing.length === 0) return batch;
    const targets = teacher.during(() =>
      inEvaluationMode(policy, () =>
        missing.map(({ key, compute }): [string, Tensor] => [key, scope(() => compute(policy, batch))]),
      ),
    );
    return { ...batch, ...Object.fromEntries(targets) };
  }

  /** The terms that measure the scale of their targets before the first step, which the anchors do not say. */
  get calibrated(): RetentionTerm[] {
    return this.terms.flatMap(({ term }) => (term.calibrate === undefined ? [] : [term]));
  }

  /** What terms remember, by mode. */
  state(): Record<string, unknown> {
    return Object.fromEntries(
      this.terms.flatMap(({ term }) => {
        const state = term.state?.() ?? null;
        return state === null ? [] : [[term.mode, state] as const];
      }),
    );
  }

  restore(state: Record<string, unknown>): void {
    for (const { term } of this.terms) if (state[term.mode] !== undefined) term.restore?.(state[term.mode]);
  }

  #name(what: string, term: RetentionTerm): string {
    return this.terms.length === 1 ? what : `${what} (${term.mode})`;
  }

  #sum(parts: readonly LossNumbers[]): LossNumbers {
    const loss = parts.reduce((sum, part, i) => sum + this.terms[i]!.weight * part.loss, 0);
    return { loss, metrics: Object.assign({}, ...parts.map(({ metrics }) => metrics)) };
  }
}
