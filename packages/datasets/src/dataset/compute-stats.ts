import { type FeatureStats, quantileNames } from './stats.js';

const BINS = 5000;

/**
 * Statistics of one feature over the frames of an episode, as LeRobot's `compute_stats.py`: population standard deviation;
 * quantiles from a histogram of 5000 equal bins over [min − 1e-10, max + 1e-10], linear within the bin. With fewer than two
 * frames every quantile is the mean.
 *
 * @param values Row-major `[rows, width]`.
 * @param shape Shape of one frame; `width` is its number of elements.
 */
export function computeStats(
  values: ArrayLike<number>,
  shape: readonly number[],
  rows: number,
): FeatureStats {
  const width = values.length / rows;
  const columns = Array.from({ length: width }, (_, i) => {
    const column = new Float64Array(rows);
    for (let row = 0; row < rows; row++) column[row] = values[row * width + i]!;
    return columnStats(column);
  });
  const pick = (name: keyof ColumnStats): number[] => columns.map((column) => column[name]);
  return {
    shape: [...shape],
    count: rows,
    min: pick('min'),
    max: pick('max'),
    mean: pick('mean'),
    std: pick('std'),
    ...Object.fromEntries(quantileNames.map((name) => [name, pick(name)])),
  };
}

type ColumnStats = Record<'min' | 'max' | 'mean' | 'std' | (typeof quantileNames)[number], number>;

/** Statistics of whole numbers from 0 on, given by how often each occurs. */
export function countedStats(counts: Float64Array): ColumnStats {
  const present = [...counts.keys()].filter((value) => counts[value]! > 0);
  return columnStats(
    Float64Array.from(present),
    Float64Array.from(present, (value) => counts[value]!),
  );
}

/** @param weights How often each value counts; once where left out. */
function columnStats(values: Float64Array, weights?: Float64Array): ColumnStats {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    const weight = weights === undefined ? 1 : weights[i]!;
    if (x < min) min = x;
    if (x > max) max = x;
    sum += weight * x;
    count += weight;
  }
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    squares += (weights === undefined ? 1 : weights[i]!) * (values[i]! - mean) ** 2;
  }
  const std = Math.sqrt(squares / count);
  if (count < 2) return { min, max, mean, std, q01: mean, q10: mean, q50: mean, q90: mean, q99: mean };
  const [q01, q10, q50, q90, q99] = quantiles(values, weights, count, min, max);
  return { min, max, mean, std, q01, q10, q50, q90, q99 };
}

function quantiles(
  values: Float64Array,
  weights: Float64Array | undefined,
  count: number,
  min: number,
  max: number,
): [number, number, number, number, number] {
  const low = min - 1e-10;
  const step = (max + 1e-10 - low) / BINS;
  const edge = (i: number): number => (i === BINS ? max + 1e-10 : low + i * step);
  const counts = new Float64Array(BINS);
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    let bin = step > 0 ? Math.min(BINS - 1, Math.max(0, Math.floor((x - low) / step))) : BINS - 1;
    // The division rounds; the edges decide, as in numpy.histogram.
    while (bin > 0 && x < edge(bin)) bin--;
    while (bin < BINS - 1 && x >= edge(bin + 1)) bin++;
    counts[bin]! += weights === undefined ? 1 : weights[i]!;
  }
  const quantile = (q: number): number => {
    const target = q * count;
    let before = 0;
    let bin = 0;
    while (bin < BINS - 1 && before + counts[bin]! < target) before += counts[bin++]!;
    if (bin === 0) return edge(0);
    return edge(bin) + ((target - before) / counts[bin]!) * (edge(bin + 1) - edge(bin));
  };
  return [quantile(0.01), quantile(0.1), quantile(0.5), quantile(0.9), quantile(0.99)];
}
