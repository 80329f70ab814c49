import type { Policy, PolicyOutput, TensorBatch } from '@craft-ft/policies';
import { CraftError, noGrad, scope, stack, type Tensor } from '@craft-ft/torch';
import { z } from 'zod';
import { extractFeatures, type FeatureSpec } from '../features.js';
import type { RetentionMode } from './config.js';
import { computeHiddenRetentionLoss, computeRetentionLoss, type HiddenLossType, reduce } from './losses.js';

/** One way of measuring how much is remembered: a loss on a batch of anchors. */
export interface RetentionTerm {
  readonly mode: RetentionMode;
  /**
   * Whether the loss compares with targets that were computed without dropout, in which case forward and backward run in evaluation mode,
   * without dropout too. Others leave the policy in the mode it is in.
   */
  readonly evaluation: boolean;
  /** The target to compute with a teacher if the batch has none; null if the term needs no teacher. */
  readonly target: RetentionTarget | null;
  /**
   * The loss with its graph, and its parts for the log.
   *
   * @param batch preprocessed anchors, with the target under its key
   * @throws CraftError if policy, batch and target do not fit together
   */
  loss(policy: Policy, batch: TensorBatch): PolicyOutput;
  /**
   * Measures the scale of the teacher's targets, for losses that are fractions of it. Called before the first step if no anchor cache
   * provides it.
   *
   * @param targets of several batches
   */
  calibrate?(targets: readonly Tensor[]): void;
  /** What `calibrate` found, for the checkpoint; null where there is nothing to keep. */
  state?(): unknown;
  /** @throws CraftError `CRAFT_STATE_INVALID` */
  restore?(state: unknown): void;
}

/** A teacher's answer to a batch. */
export interface RetentionTarget {
  /** Its key in an anchor batch, `anchor.hidden`. */
  readonly key: string;
  /** The same computation as for the student; called with the teacher's weights in place, without recording a graph. */
  compute(policy: Policy, batch: TensorBatch): Tensor;
}

/**
 * @throws CraftError `ANCHOR_TARGET_MISSING`
 */
function requireTarget(batch: TensorBatch, { key }: RetentionTarget, mode: RetentionMode): Tensor {
  const target = batch[key];
  if (target !== undefined) return target;
  throw new CraftError(
    'ANCHOR_TARGET_MISSING',
    `craft.retention_mode=${mode}: the anchors have no "${key}"; build the cache with --kinds=${mode}`,
  );
}

/** `loss`: the policy's own training loss on anchors, dropout and all. */
export class PolicyLossTerm implements RetentionTerm {
  readonly mode: RetentionMode = 'loss';
  readonly evaluation = false;
  readonly target = null;

  constructor(private readonly reduction: 'mean' | 'sum') {}

  loss(policy: Policy, batch: TensorBatch): PolicyOutput {
    // Through `call`, which frees what the forward pass does not return.
    return computeRetentionLoss({ forward: (given) => policy.call(given) }, batch, this.reduction);
  }
}

/**
 * `token_ce`: the cross-entropy of the action tokens that an anchor cache keeps (a teacher's own, or the recorded ones); without a
 * cache, of the recorded ones.
 */
export class TokenTerm extends PolicyLossTerm {
  override readonly mode = 'token_ce';

  override loss(policy: Policy, batch: TensorBatch): PolicyOutput {
    const { 'anchor.token_labels': labels, 'anchor.token_mask': mask } = batch;
    const given =
      labels === undefined || mask === undefined
        ? batch
        : { ...batch, 'action.tokens': labels, 'action.token_mask': mask };
    if (given['action.tokens'] === undefined) {
      const message = `craft.retention_mode=token_ce: policy.type=${policy.config.type} predicts no action tokens`;
      throw new CraftError('RETENTION_TOKENS', `${message}; use loss, action or hidden`);
    }
    return super.loss(policy, given);
  }
}

const ACTION: RetentionTarget = {
  key: 'anchor.action',
  compute: (policy, batch) => policy.actionsForDistillation(batch),
};

/** `action`: the distance of the policy's actions from the teacher's, in the policy's normalised units. */
export class ActionTerm implements RetentionTerm {
  readonly mode = 'action';
  readonly evaluation = true;
  readonly target = ACTION;

  constructor(
    private readonly distance: 'l1' | 'mse',
    private readonly reduction: 'mean' | 'sum',
  ) {}

  loss(policy: Policy, batch: TensorBatch): PolicyOutput {
    const teacher = requireTarget(batch, ACTION, this.mode);
    return scope(() => {
      const actions = policy.actionsForDistillation(batch);
      checkShape(actions, teacher);
      const difference = actions.to('float32').sub(teacher.to('float32'));
      const errors = this.distance === 'l1' ? difference.abs() : difference.square();
      const loss = reduce(perSample(errors, batch['anchor.action_mask']), this.reduction);
      return { loss, metrics: { action_loss: loss.detach() } };
    });
  }
}

/** Mean over the steps that count, and over the action's dimensions: `[B]`. */
function perSample(errors: Tensor, mask: Tensor | undefined): Tensor {
  if (mask === undefined) return errors.mean([1, 2]);
  const weights = mask.to(errors.dtype).unsqueeze(-1);
  const count = weights.sum([1, 2]).mul(errors.size(2)).clampMin(1);
  return errors.mul(weights).sum([1, 2]).div(count);
}

function checkShape(actions: Tensor, teacher: Tensor): void {
  if (actions.shape.join() === teacher.shape.join()) return;
  const shapes = `the teacher's are [${teacher.shape}], the policy's [${actions.shape}]`;
  throw new CraftError(
    'ANCHOR_ACTION_SHAPE',
    `anchor actions do not fit: ${shapes} ([batch, chunk_size, action dimensions]); build the cache with a teacher like the policy`,
  );
}

/** How features are compared. */
interface FeatureComparison {
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
 * Normalised, each layer's mse is divided by the teacher's mean square in that layer (l1 by its root): the fraction of the signal that
 * has drifted, comparable between layers and models, so that ε can be chosen in advance. cosine has no scale.
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

  loss(policy: Policy, batch: TensorBatch): PolicyOutput {
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
