import type { PlainObject } from '@craft-ft/datasets/json';
import type { Tensor } from '@craft-ft/torch';
import type { NormalizationMapping, PolicyFeatures } from '../config/features.js';
import type { StatTensors } from './stats.js';
import type { ProcessorStep, TensorBatch } from './step.js';
import { FeatureTransform } from './transform.js';

/** Options of both normalisation steps. */
export interface NormalizerOptions {
  /** The features to work on; others pass unchanged. */
  features: PolicyFeatures;
  /** Mode by type of feature; a type that is not listed stays as it is. */
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
   * @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID`: unlike in LeRobot, no feature passes
   * unnormalised because its statistics are not there
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

// LeRobot's reader turns every number of a dataset into float32; half precision stays what it is.
function asFloat(values: Tensor): Tensor {
  const { dtype } = values;
  const fine = dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16';
  return fine ? values : values.to({ dtype: 'float32' });
}

/**
 * Brings inputs and, in training, the action to the scale the policy learns on; see {@link FeatureTransform} for the modes.
 * Features that a batch lacks (the action at inference) are left out. Declared features come out as float32 (half precision
 * stays).
 */
export class NormalizerStep extends NormalizationStep {
  readonly registryName = 'normalizer_processor';

  protected override apply(transform: FeatureTransform, values: Tensor): Tensor {
    return transform.normalize(values);
  }
}

/** Brings a policy's outputs back to the dataset's scale. */
export class UnnormalizerStep extends NormalizationStep {
  readonly registryName = 'unnormalizer_processor';

  protected override apply(transform: FeatureTransform, values: Tensor): Tensor {
    return transform.unnormalize(values);
  }
}
