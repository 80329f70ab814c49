/**
 * Wilson's 95 % interval for a success rate: where the true rate plausibly lies after `trials` trials. Sensible at 0 and 1 too, where
 * the textbook interval has no width.
 *
 * @param z standard normal quantile; 1.96 for 95 %.
 * @returns lower and upper bound in [0, 1]
 */
export function wilsonInterval(
  successes: number,
  trials: number,
  z = 1.959963984540054,
): [low: number, high: number] {
  if (trials === 0) return [0, 1];
  const rate = successes / trials;
  const spread = (z * z) / trials;
  const center = (rate + spread / 2) / (1 + spread);
  const half = (z / (1 + spread)) * Math.sqrt((rate * (1 - rate)) / trials + spread / (4 * trials));
  // At 0 and at 1 the bound is the rate itself; rounding must not put it beside.
  return [successes === 0 ? 0 : center - half, successes === trials ? 1 : center + half];
}
