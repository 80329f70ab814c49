import { inEvaluationMode, LossMean, type Policy, type TensorBatch } from '@craft-ft/policies';
import { noGrad, type optim, scope, type Tensor } from '@craft-ft/torch';
import { type LossNumbers, lossAndGradient } from '@craft-ft/training';
import { type AnchorCacheMetadata, readAnchorMetadata } from '../anchors/metadata.js';
import type { AnchorNeeds } from '../anchors/needs.js';
import { DEFAULT_FEATURES, type FeatureSpec } from '../features.js';
import { comparesWithTeacher, type RetentionConfig, type RetentionMode, retentionWeights } from './config.js';
import { batchSize } from './losses.js';
import { ActionTerm, FeatureTerm, PolicyLossTerm, type RetentionTerm, TokenTerm } from './terms.js';

/** A term with its weight in the sum. */
interface WeightedTerm {
  readonly term: RetentionTerm;
  readonly weight: number;
}

/**
 * L_retain: the weighted sum of one or several retention terms on a batch of anchors.
 *
 * Each term runs forward and backward before the next begins, so that several need no more memory than the largest.
 */
export class RetentionObjective {
  /** @param teacher computes the targets that a batch lacks; null if every batch has them */
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
        // Gradient checkpointing recomputes layers in the backward pass, so the mode must be the same there.
        return term.evaluation ? inEvaluationMode(policy, both) : both();
      }),
    );
    return this.#sum(parts);
  }

  /** The loss over several batches, without gradients: batches weigh as much as they have valid elements, term by term. */
  mean(policy: Policy): { add(anchors: TensorBatch): void; readonly loss: number } {
    const { terms } = this;
    const means = terms.map(() => new LossMean());
    const add = (anchors: TensorBatch) => {
      const batch = this.withTargets(policy, anchors);
      terms.forEach(({ term }, i) => {
        const one = () => means[i]!.add(term.loss(policy, batch), batchSize(batch));
        scope(() => (term.evaluation ? inEvaluationMode(policy, one) : one()));
      });
    };
    return {
      add: (anchors) => noGrad(() => scope(() => add(anchors))),
      get loss() {
        return terms.reduce((sum, { weight }, i) => sum + weight * means[i]!.loss, 0);
      },
    };
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

  /** The terms that must measure the scale of their targets before the first step, because the anchors do not include it. */
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

/**
 * What a run's modes need from its anchors. A cache must have the teacher's targets; a dataset only what the policy is trained on, since
 * the teacher computes targets during training.
 *
 * @throws CraftError `ANCHOR_CACHE_…` for a cache that cannot be read
 */
export function anchorNeeds(config: RetentionConfig & { readonly anchor_cache_dir: string }): AnchorNeeds {
  if (config.anchor_cache_dir === '') return { kinds: ['task'] };
  const kinds = retentionWeights(config).map(([mode]) => (mode === 'loss' ? 'task' : mode));
  const comparesFeatures = kinds.includes('hidden') || kinds.includes('feature');
  if (!comparesFeatures || (config.hidden_layers === null && config.hidden_poolings === null))
    return { kinds };
  const stored = storedFeatures(readAnchorMetadata(config.anchor_cache_dir));
  return { kinds, features: wantedFeatures(config, stored ?? DEFAULT_FEATURES) };
}

/**
 * The retention loss that a configuration asks for.
 *
 * @param cache metadata of the anchor cache; null where anchors come from a dataset: then the weights as they are now are kept as the
 * teacher, if a mode needs one
 */
export function makeObjective(
  config: RetentionConfig,
  cache: AnchorCacheMetadata | null,
  parameters: optim.FlatParameters,
): RetentionObjective {
  const weights = retentionWeights(config);
  const terms = weights.map(([mode, weight]) => ({ term: makeTerm(config, cache, mode), weight }));
  const asksTeacher = cache === null && weights.some(([mode]) => comparesWithTeacher(mode));
  return new RetentionObjective(terms, asksTeacher ? new StartingWeights(parameters) : null);
}

function makeTerm(
  config: RetentionConfig,
  cache: AnchorCacheMetadata | null,
  mode: RetentionMode,
): RetentionTerm {
  const reduction = config.retention_reduction;
  if (mode === 'loss') return new PolicyLossTerm(reduction);
  if (mode === 'token_ce') return new TokenTerm(reduction);
  if (mode === 'action') return new ActionTerm(config.action_loss, reduction);
  const stored = cache === null ? null : storedFeatures(cache);
  const wanted = wantedFeatures(config, stored ?? DEFAULT_FEATURES);
  const spec =
    mode === 'hidden' ? wanted : { layers: wanted.layers.slice(0, 1), poolings: wanted.poolings.slice(0, 1) };
  return new FeatureTerm({
    ...{ mode, spec, reduction, distance: config.hidden_loss, normalize: config.normalize_features },
    secondMoment: stored === null ? null : secondMoments(stored, spec),
  });
}

function wantedFeatures(config: RetentionConfig, other: FeatureSpec): FeatureSpec {
  return {
    layers: config.hidden_layers ?? other.layers,
    poolings: config.hidden_poolings ?? other.poolings,
  };
}

interface StoredFeatures extends FeatureSpec {
  /** Hidden states of the teacher; null where it is not known. */
  states: number | null;
  /** [layer][pooling] */
  secondMoment: readonly (readonly number[])[];
}

// One pooled vector is a hidden target of one layer and one pooling.
function storedFeatures({ hidden, feature }: AnchorCacheMetadata): StoredFeatures | null {
  if (hidden !== null) return { ...hidden, states: hidden.num_states, secondMoment: hidden.second_moment };
  if (feature === null) return null;
  const { layer, pooling, num_states: states, second_moment: square } = feature;
  return { layers: [layer], poolings: [pooling], states, secondMoment: [[square]] };
}

function secondMoments(stored: StoredFeatures, spec: FeatureSpec): number[][] {
  const { states } = stored;
  // With 13 states, -1 and 12 are the same one.
  const absolute = (layer: number) => (layer < 0 && states !== null ? layer + states : layer);
  return spec.layers.map((layer) => {
    const row = stored.secondMoment[stored.layers.findIndex((one) => absolute(one) === absolute(layer))];
    return spec.poolings.map((pooling) => row?.[stored.poolings.indexOf(pooling)] ?? 0);
  });
}

/** Number of elements swapped at once. */
const CHUNK = 1 << 20;

const name = (segment: number) => `segment.${segment}`;

/**
 * The trainable weights as they were before the first step: the teacher of a run that has anchors but no cache.
 *
 * A copy of the whole policy would duplicate its frozen weights (a backbone under LoRA). This keeps the trainable ones only, and swaps them
 * in place with the current ones while the teacher computes its targets.
 */
export class StartingWeights {
  readonly #parameters: optim.FlatParameters;
  readonly #saved: Tensor[];

  constructor(parameters: optim.FlatParameters) {
    this.#parameters = parameters;
    this.#saved = parameters.segments.map(({ data }) => noGrad(() => data.clone()).keep());
  }

  /** Runs `body` with the starting weights in place, without recording a graph; what it returns stays valid. */
  during<T>(body: () => T): T {
    this.#swap();
    try {
      return noGrad(body);
    } finally {
      this.#swap();
    }
  }

  #swap(): void {
    noGrad(() => {
      this.#parameters.segments.forEach(({ data }, i) => {
        const saved = this.#saved[i]!;
        for (let start = 0; start < data.numel; start += CHUNK) {
          scope(() => {
            const length = Math.min(CHUNK, data.numel - start);
            const [current, other] = [data.narrow(0, start, length), saved.narrow(0, start, length)];
            const held = current.clone();
            current.copy_(other);
            other.copy_(held);
          });
        }
      });
    });
  }

  /** For a checkpoint; the tensors are this object's own. */
  tensors(): Map<string, Tensor> {
    return new Map(this.#saved.map((saved, i) => [name(i), saved]));
  }

  /** Restores what `tensors` returned. @returns whether it fits */
  restore(state: ReadonlyMap<string, Tensor>): boolean {
    const given = this.#saved.map((_, i) => state.get(name(i)));
    if (given.some((tensor, i) => tensor?.numel !== this.#saved[i]!.numel)) return false;
    noGrad(() => {
      this.#saved.forEach((saved, i) => {
        saved.copy_(given[i]!);
      });
    });
    return true;
  }
}
