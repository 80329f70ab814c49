import { CraftError } from '@craft-ft/torch';
import type { OnWarning } from './dataset-files.js';

export const quantileNames = ['q01', 'q10', 'q50', 'q90', 'q99'] as const;
export type QuantileName = (typeof quantileNames)[number];
const momentNames = ['min', 'max', 'mean', 'std'] as const;

/**
 * Statistics of one feature over frames; each array is row-major in `shape` (`[26]` for a state, `[3, 1, 1]` for a camera,
 * whose values are already divided by 255). Datasets written by older versions of LeRobot have no quantiles.
 */
export interface FeatureStats extends Partial<Record<QuantileName, number[]>> {
  shape: number[];
  /** Frames (for cameras: sampled frames) the statistics are over. */
  count: number;
  min: number[];
  max: number[];
  mean: number[];
  std: number[];
}

/** Statistics by feature. */
export type DatasetStats = Record<string, FeatureStats>;

/**
 * Reads one stats object as LeRobot writes it (`{feature: {min, max, mean, std, count, q01, …}}`, nested lists). A feature
 * with a value that is not finite is left out with a warning, so that normalising by it fails instead of giving NaN.
 *
 * @param defaultCount Count for files that have none (v2.0).
 * @throws CraftError `DATASET_STATS` naming `where`, feature and statistic.
 */
export function parseStats(
  json: unknown,
  where: string,
  warn: OnWarning,
  defaultCount?: number,
): DatasetStats {
  if (!isRecord(json)) throw new CraftError('DATASET_STATS', `${where}: expected an object of features`);
  const stats: DatasetStats = {};
  for (const [feature, values] of Object.entries(json)) {
    if (!isRecord(values)) throw new CraftError('DATASET_STATS', `${where}: "${feature}" is not an object`);
    const parsed = parseFeature(feature, values, where, defaultCount);
    const bad = [...momentNames, ...quantileNames].find((name) =>
      parsed[name]?.some((x) => !Number.isFinite(x)),
    );
    if (bad === undefined) stats[feature] = parsed;
    else warn(`${where}: ${bad} of "${feature}" is NaN or infinite; the feature's statistics are not used`);
  }
  return stats;
}

function parseFeature(
  feature: string,
  values: Record<string, unknown>,
  where: string,
  defaultCount: number | undefined,
): FeatureStats {
  const mean = flatten(values.mean);
  if (mean === undefined) throw new CraftError('DATASET_STATS', `${where}: "${feature}" has no mean`);
  const read = (name: string): number[] => {
    const value = flatten(values[name]);
    if (value !== undefined && value.data.length === mean.data.length) return value.data;
    const found =
      value === undefined ? 'missing' : `of length ${value.data.length}, expected ${mean.data.length}`;
    throw new CraftError('DATASET_STATS', `${where}: "${feature}"."${name}" is ${found}`);
  };
  const count = flatten(values.count)?.data[0] ?? defaultCount;
  if (count === undefined) throw new CraftError('DATASET_STATS', `${where}: "${feature}" has no count`);
  const stats: FeatureStats = {
    shape: mean.shape,
    count,
    min: read('min'),
    max: read('max'),
    mean: mean.data,
    std: read('std'),
  };
  for (const name of quantileNames) if (values[name] != null) stats[name] = read(name);
  return stats;
}

/**
 * Statistics of the union of several sets, as LeRobot 0.6.2's `compute_stats.py: aggregate_feature_stats`: extremes of the
 * extremes, count-weighted mean and variance (parallel formula); quantiles are an envelope, the smallest of q01, q10, q50 and
 * the largest of q90, q99, and are kept only where every set has them. A feature that some set lacks is left out with a
 * warning.
 *
 * @throws CraftError `DATASET_STATS` when sets disagree on a feature's shape.
 */
export function aggregateStats(sets: readonly DatasetStats[], where: string, warn: OnWarning): DatasetStats {
  const result: DatasetStats = {};
  for (const feature of new Set(sets.flatMap(Object.keys))) {
    const parts = sets.flatMap((set) => set[feature] ?? []);
    if (parts.length < sets.length) {
      const lacking = sets.length - parts.length;
      warn(
        `${where}: ${lacking} of ${sets.length} chosen episodes lack statistics of "${feature}"; they are not used`,
      );
      continue;
    }
    if (parts.some((part) => part.mean.length !== parts[0]!.mean.length)) {
      throw new CraftError(
        'DATASET_STATS',
        `${where}: the statistics of "${feature}" differ in shape between episodes`,
      );
    }
    result[feature] = aggregateFeature(parts);
  }
  return result;
}

function aggregateFeature(parts: readonly FeatureStats[]): FeatureStats {
  const width = parts[0]!.mean.length;
  const fold = (name: 'min' | 'max' | QuantileName, better: (a: number, b: number) => number): number[] =>
    Array.from({ length: width }, (_, i) =>
      parts.map((part) => part[name]![i]!).reduce((a, b) => better(a, b)),
    );
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const mean = new Array<number>(width);
  const std = new Array<number>(width);
  for (let i = 0; i < width; i++) {
    const m = parts.reduce((sum, part) => sum + part.count * part.mean[i]!, 0) / count;
    const squares = parts.reduce(
      (sum, part) => sum + part.count * (part.std[i]! ** 2 + (part.mean[i]! - m) ** 2),
      0,
    );
    mean[i] = m;
    std[i] = Math.sqrt(squares / count);
  }
  const result: FeatureStats = {
    shape: parts[0]!.shape,
    count,
    min: fold('min', Math.min),
    max: fold('max', Math.max),
    mean,
    std,
  };
  for (const name of quantileNames) {
    if (!parts.every((part) => part[name] !== undefined)) continue;
    result[name] = fold(name, name === 'q90' || name === 'q99' ? Math.max : Math.min);
  }
  return result;
}

/** Nested lists of numbers (Parquet gives bigint for integers) as a flat array and its shape; null counts as NaN. */
function flatten(value: unknown): { data: number[]; shape: number[] } | undefined {
  if (value === undefined) return undefined;
  const shape: number[] = [];
  for (let level: unknown = value; isList(level); level = level[0]) shape.push(level.length);
  const data: number[] = [];
  const visit = (item: unknown): void => {
    if (isList(item)) for (const inner of Array.from(item)) visit(inner);
    else data.push(item === null || item === undefined ? Number.NaN : Number(item));
  };
  visit(value);
  return { data, shape };
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

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

/** Statistics of whole numbers from 0 on, given how often each occurs. */
export function countedStats(counts: Float64Array): ColumnStats {
  const present = [...counts.keys()].filter((value) => counts[value]! > 0);
  return columnStats(
    Float64Array.from(present),
    Float64Array.from(present, (value) => counts[value]!),
  );
}

/** @param weights number of occurrences of each value. Default 1 */
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
