import type { Policy, TensorBatch } from '@craft-ft/policies';
import { CraftError, noGrad, scope, stack, type Tensor } from '@craft-ft/torch';
import { z } from 'zod';
import { extractFeatures, type FeatureSpec } from '../features.js';
import { computeHiddenRetentionLoss, type HiddenLossType } from '../hidden-loss.js';
import { type LossOutput, reduce } from '../retention-loss.js';
import { type RetentionTarget, type RetentionTerm, requireTarget } from './term.js';

/** How features are compared. */
export interface FeatureComparison {
  mode: 'hidden' | 'feature';
  /** Which features the targets are. */
  spec: FeatureSpec;
  distance: HiddenLossType;
  reduction: 'mean' | 'sum';
  /** Divide by the scale of the teacher's features. */
  normalize: boolean;
  /** Mean square of the teacher's features, `[layer][pooling]`; null: measured before the first step. */
  secondMoment: readonly (readonly number[])[] | null;
}

const momentSchema = z.array(z.array(z.number().min(0)));

/**
 * `hidden` and `feature`: the distance of pooled hidden states from the teacher's, averaged over layers and poolings.
 *
 * Normalised, each layer's mse is divided by the teacher's mean square in that layer (l1 by its root): a fraction of the signal that has
 * drifted, comparable between layers and models, which ε can be chosen for beforehand. cosine has no scale.
 */
export class FeatureTerm implements RetentionTerm {
  readonly mode;
  readonly evaluation = true;
  readonly target: RetentionTarget;
  readonly #how: FeatureComparison;
  #secondMoment: readonly (readonly number[])[] | null;

  constructor(how: FeatureComparison) {
    this.#how = how;
    this.mode = how.mode;
    this.#secondMoment = how.secondMoment;
    this.target = {
      key: `anchor.${how.mode}`,
      compute: (policy, batch) => {
        const features = extractFeatures(policy, batch, how.spec);
        return how.mode === 'hidden' ? features : features.select(1, 0).select(1, 0);
      },
    };
  }

  loss(policy: Policy, batch: TensorBatch): LossOutput {
    const { spec, distance, reduction } = this.#how;
    const given = requireTarget(batch, this.target, this.mode);
    return scope(() => {
      const teacher = this.#wide(given);
      const student = extractFeatures(policy, batch, spec);
      const each = spec.layers.flatMap((_, l) =>
        spec.poolings.map((__, p) => {
          const part = (features: Tensor) => features.select(1, l).select(1, p);
          const losses = computeHiddenRetentionLoss(part(student), part(teacher), distance, 'none');
          return losses.div(this.#divisor(l, p));
        }),
      );
      const loss = reduce(stack(each, 0).mean([0]), reduction);
      return { loss, metrics: { [`${this.mode}_loss`]: loss.detach() } };
    });
  }

  calibrate(targets: readonly Tensor[]): void {
    if (this.#secondMoment !== null) return;
    this.#secondMoment = noGrad(() =>
      scope(() => {
        const squares = targets.map((target) => this.#wide(target).to('float32').square().mean([0, 3]));
        return stack(squares, 0).mean([0]).tolist() as number[][];
      }),
    );
  }

  state(): unknown {
    return this.#secondMoment;
  }

  restore(state: unknown): void {
    const parsed = momentSchema.safeParse(state);
    if (!parsed.success) {
      throw new CraftError(
        'CRAFT_STATE_INVALID',
        `craft_state.json: terms.${this.mode}: the file is damaged`,
      );
    }
    this.#secondMoment = parsed.data;
  }

  #divisor(layer: number, pooling: number): number {
    const { normalize, distance } = this.#how;
    const square = this.#secondMoment?.[layer]?.[pooling];
    if (!normalize || distance === 'cosine' || square === undefined || square === 0) return 1;
    return distance === 'mse' ? square : Math.sqrt(square);
  }

  // Targets as [B, layers, poolings, H].
  #wide(given: Tensor): Tensor {
    const target = this.mode === 'feature' && given.ndim === 2 ? given.unsqueeze(1).unsqueeze(1) : given;
    const { layers, poolings } = this.#how.spec;
    const [, l = 0, p = 0] = target.shape;
    if (target.ndim === 4 && l === layers.length && p === poolings.length) return target;
    throw new CraftError(
      'HIDDEN_SHAPE',
      `"${this.target.key}" has shape [${given.shape}], expected ${layers.length} layers and ${poolings.length} poolings; ` +
        'build the anchor cache anew',
    );
  }
}
