import type { FeatureStats, QuantileName } from '../src/dataset/stats.js';

type StatName = 'min' | 'max' | 'mean' | 'std' | QuantileName;

/** Statistics of a feature [size], the same in every dimension. Default: from 0 to 1, mean 0, deviation 1, no quantiles. */
export function evenStats(size: number, changes: Partial<Record<StatName, number>> = {}): FeatureStats {
  const values = { min: 0, max: 1, mean: 0, std: 1, ...changes };
  const filled = Object.entries(values).map(([name, value]) => [name, Array<number>(size).fill(value)]);
  return {
    shape: [size],
    count: 5,
    ...(Object.fromEntries(filled) as Record<keyof typeof values, number[]>),
  };
}
