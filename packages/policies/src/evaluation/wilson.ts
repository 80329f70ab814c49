/**
 * Wilson's 95 % interval for a success rate observed over `trials` trials. Unlike the normal approximation, it keeps a sensible
 * width at rates 0 and 1.
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
  // At rates 0 and 1 one bound equals the rate; rounding must not move it.
  return [successes === 0 ? 0 : center - half, successes === trials ? 1 : center + half];
}
