import type { PlainObject } from '@craft-ft/datasets/json';
import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import type { NormalizationMapping, NormalizationMode, PolicyFeatures } from '../config/policy-fields.js';
import { requireStat, type StatTensors } from './stats.js';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Modes that change values. */
type ScalingMode = Exclude<NormalizationMode, 'IDENTITY'>;

/** The statistics each mode needs: mean and std, or the lower and upper end of the range mapped to [-1, 1]. */
export const MODE_STATS: Readonly<Record<ScalingMode, readonly [string, string]>> = {
  MEAN_STD: ['mean', 'std'],
  MIN_MAX: ['min', 'max'],
  QUANTILES: ['q01', 'q99'],
  QUANTILE10: ['q10', 'q90'],
};

/** The shift of both directions, the divisor for normalising and the factor for unnormalising, in the formulas below. */
interface Scale {
  shift: Tensor;
  divisor: Tensor;
  factor: Tensor;
}

/** What a transform needs to know about its feature. */
interface TransformOptions {
  feature: string;
  /** Shape of one value: `[6]`, or `[3, 480, 640]`. */
  shape: readonly number[];
  mode: ScalingMode;
  stats: StatTensors;
  eps: number;
  /** Names the file or dataset in messages. */
  where: string;
}

/**
 * Normalisation of one feature, numerically as LeRobot's `normalize_processor.py`:
 *
 * - MEAN_STD: (x − μ) / (σ + eps), back x·σ + μ. A feature that never varies (σ = 0) becomes (x − μ) / eps: 0 where x = μ, huge
 *   elsewhere; going back always gives μ.
 * - the others: 2·(x − low) / (high − low) − 1, back (x + 1) / 2·(high − low) + low, with eps in place of a range of
 *   0, which maps x = low to −1.
 *
 * Values beyond a range go beyond [-1, 1]; nothing is clipped.
 */
class FeatureTransform {
  readonly #mode: ScalingMode;
  #scale: Scale;

  /** @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID` */
  constructor({ feature, shape, mode, stats, eps, where }: TransformOptions) {
    const read = (name: string) => requireStat(stats, feature, name, shape, mode, where);
    const [first, second] = MODE_STATS[mode];
    const [low, high] = [read(first), read(second)];
    this.#mode = mode;
    const { shift, divisor, factor } = scope(() =>
      noGrad(() => {
        if (mode === 'MEAN_STD') return { shift: low.clone(), divisor: high.add(eps), factor: high.clone() };
        const range = high.sub(low);
        const safe = range.maskedFill(range.eq(0), eps);
        return { shift: low.clone(), divisor: safe, factor: safe.clone() };
      }),
    );
    this.#scale = { shift: shift.keep(), divisor: divisor.keep(), factor: factor.keep() };
  }

  /** @param x `[..., ...shape]`, floating point */
  normalize(x: Tensor): Tensor {
    return scope(() => {
      const { shift, divisor } = this.#like(x);
      const shifted = x.sub(shift);
      return this.#mode === 'MEAN_STD' ? shifted.div(divisor) : shifted.mul(2).div(divisor).sub(1);
    });
  }

  /** The inverse of `normalize`. */
  unnormalize(x: Tensor): Tensor {
    return scope(() => {
      const { shift, factor } = this.#like(x);
      const unit = this.#mode === 'MEAN_STD' ? x : x.add(1).div(2);
      return unit.mul(factor).add(shift);
    });
  }

  // The casts are made for each batch, so that the stored statistics keep their original precision.
  #like({ device, dtype }: Tensor): Scale {
    if (this.#scale.shift.device !== device) this.#moveTo(device);
    const { shift, divisor, factor } = this.#scale;
    if (shift.dtype === dtype) return this.#scale;
    return noGrad(() => ({
      shift: shift.to({ dtype }),
      divisor: divisor.to({ dtype }),
      factor: factor.to({ dtype }),
    }));
  }

  #moveTo(device: string): void {
    const move = (values: Tensor) => {
      const moved = values.to({ device }).keep();
      values.dispose();
      return moved;
    };
    const { shift, divisor, factor } = this.#scale;
    this.#scale = { shift: move(shift), divisor: move(divisor), factor: move(factor) };
  }
}

/** Options of both normalisation steps. */
export interface NormalizerOptions {
  /** The features to work on; others pass unchanged. */
  features: PolicyFeatures;
  /** Mode by feature type; features of other types pass unchanged. */
  normMap: NormalizationMapping;
  stats: StatTensors;
  /** Default 1e-8. */
  eps?: number;
  /** Normalise only these observations (and the action). Default: all. */
  normalizeObservationKeys?: readonly string[] | null;
  /** Names the file or dataset in messages. Default `normaliser`. */
  where?: string;
}

/** What the two steps share: options, the transform of each feature, and how they are saved. */
abstract class NormalizationStep implements ProcessorStep {
  abstract readonly registryName: string;
  protected readonly transforms = new Map<string, FeatureTransform | null>();
  readonly #options: NormalizerOptions;
  readonly #eps: number;

  /**
   * @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID`: unlike in LeRobot, a feature without statistics
   * never passes unnormalised
   */
  constructor(options: NormalizerOptions) {
    const {
      features,
      normMap,
      stats,
      eps = 1e-8,
      normalizeObservationKeys: only,
      where = 'normaliser',
    } = options;
    this.#options = options;
    this.#eps = eps;
    for (const [feature, { type, shape }] of Object.entries(features)) {
      const mode = normMap[type] ?? 'IDENTITY';
      const left = type !== 'ACTION' && only != null && !only.includes(feature);
      this.transforms.set(
        feature,
        mode === 'IDENTITY' || left
          ? null
          : new FeatureTransform({ feature, shape, mode, stats, eps, where: `${where}: normalisation` }),
      );
    }
  }

  protected abstract apply(transform: FeatureTransform, values: Tensor): Tensor;

  process(batch: TensorBatch): TensorBatch {
    const result = { ...batch };
    for (const [feature, transform] of this.transforms) {
      const values = batch[feature];
      if (values === undefined) continue;
      const floating = asFloat(values);
      result[feature] = transform === null ? floating : this.apply(transform, floating);
    }
    return result;
  }

  config(): PlainObject {
    const { features, normMap, normalizeObservationKeys: only } = this.#options;
    return {
      eps: this.#eps,
      features: structuredClone(features),
      norm_map: { ...normMap },
      ...(only == null ? {} : { normalize_observation_keys: [...only].sort() }),
    };
  }

  state(): StatTensors {
    return this.#options.stats;
  }
}

// LeRobot's reader casts every number of a dataset to float32; half precision is kept.
function asFloat(values: Tensor): Tensor {
  const { dtype } = values;
  const fine = dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16';
  return fine ? values : values.to({ dtype: 'float32' });
}

/**
 * Normalises inputs and, in training, the action; see {@link FeatureTransform} for the modes. Features that are missing from a
 * batch (the action at inference) are skipped. The features come out as float32 (half precision is kept).
 */
export class NormalizerStep extends NormalizationStep {
  readonly registryName = 'normalizer_processor';

  protected override apply(transform: FeatureTransform, values: Tensor): Tensor {
    return transform.normalize(values);
  }
}

/** Unnormalises a policy's outputs to the dataset's scale. */
export class UnnormalizerStep extends NormalizationStep {
  readonly registryName = 'unnormalizer_processor';

  protected override apply(transform: FeatureTransform, values: Tensor): Tensor {
    return transform.unnormalize(values);
  }
}
