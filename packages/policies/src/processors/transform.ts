import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import type { NormalizationMode } from '../config/features.js';
import { requireStat, type StatTensors } from './stats.js';

/** Modes that change values. */
export type ScalingMode = Exclude<NormalizationMode, 'IDENTITY'>;

/** The statistics each mode needs: mean and std, or the lower and upper end of the range mapped to [-1, 1]. */
export const MODE_STATS: Readonly<Record<ScalingMode, readonly [string, string]>> = {
  MEAN_STD: ['mean', 'std'],
  MIN_MAX: ['min', 'max'],
  QUANTILES: ['q01', 'q99'],
  QUANTILE10: ['q10', 'q90'],
};

/** What a transform needs to know about its feature. */
export interface TransformOptions {
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
 * - the others: 2·(x − low) / (high − low) − 1, back (x + 1) / 2·(high − low) + low, with eps for a range of 0, which maps
 *   x = low to −1.
 *
 * Values beyond a range go beyond [-1, 1]; nothing is clipped.
 */
export class FeatureTransform {
  readonly #mode: ScalingMode;
  #shift: Tensor;
  #divisor: Tensor;
  #factor: Tensor;

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
    this.#shift = shift.keep();
    this.#divisor = divisor.keep();
    this.#factor = factor.keep();
  }

  /** @param x `[..., ...shape]`, floating point */
  normalize(x: Tensor): Tensor {
    return scope(() => {
      this.#follow(x);
      const shifted = x.sub(this.#shift);
      return this.#mode === 'MEAN_STD'
        ? shifted.div(this.#divisor)
        : shifted.mul(2).div(this.#divisor).sub(1);
    });
  }

  /** The inverse of `normalize`. */
  unnormalize(x: Tensor): Tensor {
    return scope(() => {
      this.#follow(x);
      const unit = this.#mode === 'MEAN_STD' ? x : x.add(1).div(2);
      return unit.mul(this.#factor).add(this.#shift);
    });
  }

  // Statistics move to where the data is, once.
  #follow(x: Tensor): void {
    const { device, dtype } = x;
    if (this.#shift.device === device && this.#shift.dtype === dtype) return;
    const move = (values: Tensor) => {
      const moved = values.to({ device, dtype }).keep();
      values.dispose();
      return moved;
    };
    this.#shift = move(this.#shift);
    this.#divisor = move(this.#divisor);
    this.#factor = move(this.#factor);
  }
}
