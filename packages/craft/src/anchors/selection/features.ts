import { Xoshiro128 } from '@craft-ft/datasets';
import { noGrad, scope, type Tensor, tensor, zerosLike } from '@craft-ft/torch';

/** Rounds of k-means; assignments rarely change after ten. */
const ROUNDS = 20;

/** Pool and chosen at a time, so that distances fit into memory. */
const CHUNK = 1024;

/**
 * Frames nearest to the centres of k-means clusters (k-means++ start): one for each region of feature space, dense or not, so that
 * rare situations are kept too.
 *
 * @param features `[P, H]` float32, one row per frame of the pool
 * @param count at most P
 * @returns positions in the pool, ascending, without repeats; decided by the seed
 */
export function kmeansSelection(features: Tensor, count: number, seed: number): number[] {
  return scope(() =>
    noGrad(() => {
      const points = withNorms(centred(features));
      let centres = plusPlusStart(points, count, new Xoshiro128(seed, 0));
      let assigned: Int32Array = new Int32Array(0);
      for (let round = 0; round < ROUNDS; round++) {
        const nearest = nearestOf(points, withNorms(centres)).index;
        if (assigned.length > 0 && nearest.every((value, i) => value === assigned[i])) break;
        assigned = nearest;
        centres = scope(() => means(points.rows, assigned, centres));
      }
      return distinctNearest(points, withNorms(centres));
    }),
  );
}

/**
 * Herding (Welling, ICML 2009): each frame in turn is the one that brings the mean of the chosen closest to the mean of the pool, so
 * that the first few already represent the whole.
 *
 * @param features `[P, H]` float32
 * @param count at most P
 * @returns positions in the pool, ascending, without repeats; deterministic
 */
export function herdingSelection(features: Tensor, count: number): number[] {
  return scope(() =>
    noGrad(() => {
      const points = centred(features);
      const [size, width] = points.shape as [number, number];
      const data = points.toTypedArray() as Float32Array;
      // Twice the dot with the sum so far plus the own square is what choosing a frame would add to |sum|².
      const squares = Float64Array.from({ length: size }, (_, i) => dot(data, i, data, i, width));
      const sum = new Float32Array(width);
      const open = new Set(Array.from({ length: size }, (_, i) => i));
      const chosen: number[] = [];
      while (chosen.length < count) {
        const along = scope(
          () =>
            points
              .matmul(tensor(sum).view([width, 1]))
              .view([-1])
              .toTypedArray() as Float32Array,
        );
        let best = -1;
        let least = Number.POSITIVE_INFINITY;
        for (const i of open) {
          const cost = 2 * along[i]! + squares[i]!;
          if (cost < least) [best, least] = [i, cost];
        }
        open.delete(best);
        chosen.push(best);
        for (let j = 0; j < width; j++) sum[j]! += data[best * width + j]!;
      }
      return chosen.sort((a, b) => a - b);
    }),
  );
}

/** How well chosen frames cover a pool: see `selection.coverage` of the metadata. */
export function coverage(features: Tensor, chosen: readonly number[]): { radius: number; mean: number } {
  return scope(() =>
    noGrad(() => {
      const points = withNorms(centred(features));
      const scale = Math.sqrt(points.norms.mean().item()) || 1;
      const distances = nearestOf(points, points.take(chosen)).distance.map(
        (value) => Math.sqrt(value) / scale,
      );
      return {
        radius: distances.reduce((a, b) => Math.max(a, b), 0),
        mean: distances.reduce((a, b) => a + b, 0) / distances.length,
      };
    }),
  );
}

// Distances do not change, and float32 keeps more of them.
function centred(features: Tensor): Tensor {
  return features.sub(features.mean([0], true));
}

/** Vectors `[n, H]` with their squared lengths `[n]`, which distances are made of. */
interface Vectors {
  readonly rows: Tensor;
  readonly norms: Tensor;
  take(which: readonly number[]): Vectors;
  part(start: number, length: number): Vectors;
}

function withNorms(rows: Tensor, norms: Tensor = rows.square().sum([1])): Vectors {
  return {
    rows,
    norms,
    take: (which) => {
      const at = indices(which);
      return withNorms(rows.indexSelect(0, at), norms.indexSelect(0, at));
    },
    part: (start, length) => withNorms(rows.narrow(0, start, length), norms.narrow(0, start, length)),
  };
}

// k-means++ (Arthur and Vassilvitskii, 2007), the best of a few draws for each centre, so that small clusters are seldom missed.
function plusPlusStart(points: Vectors, count: number, random: Xoshiro128): Tensor {
  const size = points.rows.size(0);
  const trials = 2 + Math.floor(Math.log(count));
  const chosen = [random.below(size)];
  let distance = distancesTo(points, chosen)[0]!;
  while (chosen.length < count) {
    const total = distance.reduce((a, b) => a + b, 0);
    const candidates = Array.from({ length: trials }, () => drawByWeight(distance, total, random));
    if (candidates.includes(-1)) {
      // Every frame left is a copy of one that was chosen.
      const taken = new Set(chosen);
      chosen.push(distance.findIndex((_, i) => !taken.has(i)));
      continue;
    }
    let least = Number.POSITIVE_INFINITY;
    let best = { at: -1, distance };
    distancesTo(points, candidates).forEach((found, i) => {
      const shorter = found.map((value, k) => Math.min(value, distance[k]!));
      const sum = shorter.reduce((a, b) => a + b, 0);
      if (sum >= least) return;
      least = sum;
      best = { at: candidates[i]!, distance: shorter };
    });
    chosen.push(best.at);
    distance = best.distance;
  }
  return points.rows.indexSelect(0, indices(chosen));
}

function drawByWeight(weights: Float64Array, total: number, random: Xoshiro128): number {
  let left = (random.next() / 2 ** 32) * total;
  return weights.findIndex((weight) => {
    left -= weight;
    return weight > 0 && left < 0;
  });
}

/** Squared distances from each of `some` to every point; those points themselves are at 0. */
function distancesTo(points: Vectors, some: readonly number[]): Float64Array[] {
  return scope(() => {
    const rows = squaredDistances(points.take(some), points);
    const values = rows.toTypedArray() as Float32Array;
    const size = points.rows.size(0);
    return some.map((own, row) => {
      const distances = Float64Array.from(values.subarray(row * size, (row + 1) * size), (value) =>
        Math.max(0, value),
      );
      distances[own] = 0;
      return distances;
    });
  });
}

/** Nearest centre of each point, and the squared distance to it. */
function nearestOf(points: Vectors, centres: Vectors): { index: Int32Array; distance: Float64Array } {
  const size = points.rows.size(0);
  const index = new Int32Array(size);
  const distance = new Float64Array(size);
  for (let start = 0; start < size; start += CHUNK) {
    scope(() => {
      const part = points.part(start, Math.min(CHUNK, size - start));
      const [values, at] = squaredDistances(part, centres).min(1);
      (values.toTypedArray() as Float32Array).forEach((value, i) => {
        distance[start + i] = Math.max(0, value);
      });
      (at.toTypedArray() as BigInt64Array).forEach((value, i) => {
        index[start + i] = Number(value);
      });
    });
  }
  return { index, distance };
}

function squaredDistances(a: Vectors, b: Vectors): Tensor {
  return a.rows.matmul(b.rows.transpose(0, 1)).mul_(-2).add_(a.norms.unsqueeze(1)).add_(b.norms);
}

// An empty cluster keeps its centre.
function means(points: Tensor, assigned: Int32Array, centres: Tensor): Tensor {
  const count = centres.size(0);
  const at = tensor(BigInt64Array.from(assigned, BigInt));
  const sums = zerosLike(centres).indexAdd(0, at, points);
  const sizes = new Float32Array(count);
  for (const cluster of assigned) sizes[cluster]!++;
  const weights = tensor(sizes).view([count, 1]);
  return sums
    .div(weights.clamp(1))
    .mul(weights.gt(0))
    .add(centres.mul(weights.eq(0)));
}

/** A frame for each centre, the nearest that is still free. */
function distinctNearest(points: Vectors, centres: Vectors): number[] {
  const taken = new Set<number>();
  const count = centres.rows.size(0);
  for (let start = 0; start < count; start += CHUNK) {
    scope(() => {
      const part = centres.part(start, Math.min(CHUNK, count - start));
      const distances = squaredDistances(part, points).toTypedArray() as Float32Array;
      const size = points.rows.size(0);
      for (let row = 0; row < part.rows.size(0); row++) {
        let best = -1;
        for (let i = 0; i < size; i++) {
          if (taken.has(i)) continue;
          if (best < 0 || distances[row * size + i]! < distances[row * size + best]!) best = i;
        }
        taken.add(best);
      }
    });
  }
  return [...taken].sort((a, b) => a - b);
}

function indices(values: readonly number[]): Tensor {
  return tensor(BigInt64Array.from(values, BigInt));
}

function dot(a: Float32Array, i: number, b: Float32Array, j: number, width: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += a[i * width + k]! * b[j * width + k]!;
  return sum;
}
