import type { Products } from './surgery.js';

/** Bisections, down to the resolution of a double. */
const ITERATIONS = 60;

/** Below this a direction counts as zero. */
const TINY = 1e-30;

/**
 * CAGrad (Liu et al., 2021) for two gradients. Among the updates g within c·|g₀| of the merged gradient g₀, it takes the one that
 * helps the worse-off loss most:
 *
 *     max over |g − g₀| ≤ c·|g₀| of min(⟨g_t, g⟩, ⟨g_r, g⟩)
 *
 * By duality g = g₀ + c·|g₀| · g_w/|g_w| with g_w = w·g_t + (1 − w)·g_r, where w ∈ [0, 1] minimises ⟨g_w, g₀⟩ + c·|g₀|·|g_w|: a
 * convex function of one number, known from the three inner products. Bisection finds the zero of its derivative.
 *
 * @param task weight of g_t in g₀: ½ gives the paper's average, 1 and λ the gradient of the Lagrangian
 * @param retain weight of g_r in g₀
 * @param c with 0 the result is g₀
 * @returns coefficients of g_t and g_r
 */
export function cagrad(
  { d, T, R }: Products,
  task: number,
  retain: number,
  c: number,
): [a: number, b: number] {
  const radius = c * Math.sqrt(Math.max(0, task * task * T + 2 * task * retain * d + retain * retain * R));
  const withTask = task * T + retain * d;
  const withRetain = task * d + retain * R;
  // |g_w|² = curve·w² + 2·slope·w + R
  const [curve, slope] = [T - 2 * d + R, d - R];
  const length = (w: number) => Math.sqrt(Math.max(0, curve * w * w + 2 * slope * w + R));
  const w = rootOfIncreasing((x) => {
    const size = length(x);
    return withTask - withRetain + (size > TINY ? (radius * (curve * x + slope)) / size : 0);
  });
  const size = length(w);
  const pull = size > TINY ? radius / size : 0;
  return [task + pull * w, retain + pull * (1 - w)];
}

// Where a nondecreasing function changes sign on [0, 1]; an end of the interval where it does not.
function rootOfIncreasing(f: (x: number) => number): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < ITERATIONS; i++) {
    const middle = (low + high) / 2;
    if (f(middle) > 0) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}
