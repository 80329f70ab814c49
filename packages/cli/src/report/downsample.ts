/** One point of a curve; `low` and `high` are the extremes of the values it stands for. */
export interface Point {
  x: number;
  y: number;
  low: number;
  high: number;
}

/** A value at a step. */
export type Sample = readonly [x: number, y: number];

/**
 * At most `limit` points: neighbours are put together into their mean, and what they spanned is kept, so that a peak in a long run
 * still shows. Values that are not finite are left out.
 */
export function downsample(samples: readonly Sample[], limit: number): Point[] {
  const finite = samples.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const buckets = Math.min(limit, finite.length);
  return Array.from({ length: buckets }, (_, bucket) => {
    const from = Math.floor((bucket * finite.length) / buckets);
    const to = Math.floor(((bucket + 1) * finite.length) / buckets);
    return merge(finite.slice(from, to));
  });
}

function merge(samples: readonly Sample[]): Point {
  let [x, y, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [at, value] of samples) {
    x += at / samples.length;
    y += value / samples.length;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { x, y: Math.min(high, Math.max(low, y)), low, high };
}
