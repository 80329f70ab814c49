import type { MergeWeights, Products } from '../coefficients.js';

/** Halvings of the interval that is searched: down to the resolution of a double. */
const ITERATIONS = 60;

/** Below this a direction has no length to speak of. */
const TINY = 1e-30;

/**
 * CAGrad (Liu et al., 2021) for two gradients. Among the updates g within c·|g₀| of the merged gradient g₀, it takes the one that
 * helps the worse-off loss most:
 *
 *     max over |g − g₀| ≤ c·|g₀| of min(⟨g_t, g⟩, ⟨g_r, g⟩)
 *
 * By duality g = g₀ + c·|g₀| · g_w/|g_w| with g_w = w·g_t + (1 − w)·g_r, where w ∈ [0, 1] minimises ⟨g_w, g₀⟩ + c·|g₀|·|g_w|, a
 * convex function of one number that the three inner products give; the zero of its derivative is found by halving. g₀ is the merge with the weights given: the paper's average with
 * `equal`, the Lagrangian's gradient with `weighted`. With c = 0 the result is g₀.
 *
 * @returns coefficients of g_t and g_r
 */
export function cagradCoefficients(
  { d, T, R }: Products,
  { task, retain }: MergeWeights,
  c: number,
): [a: number, b: number] {
  const radius = c * Math.sqrt(Math.max(0, task * task * T + 2 * task * retain * d + retain * retain * R));
  const withTask = task * T + retain * d;
  const withRetain = task * d + retain * R;
  // |g_w|² = curve·w² + 2·slope·w + R
  const [curve, slope] = [T - 2 * d + R, d - R];
  const length = (w: number) => Math.sqrt(Math.max(0, curve * w * w + 2 * slope * w + R));
  const w = zeroOfRising((x) => {
    const size = length(x);
    return withTask - withRetain + (size > TINY ? (radius * (curve * x + slope)) / size : 0);
  });
  const size = length(w);
  const pull = size > TINY ? radius / size : 0;
  return [task + pull * w, retain + pull * (1 - w)];
}

// Where a function that never falls changes sign on [0, 1]; an end where it does not.
function zeroOfRising(f: (x: number) => number): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < ITERATIONS; i++) {
    const middle = (low + high) / 2;
    if (f(middle) > 0) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}
