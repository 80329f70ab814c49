/**
 * Wilson's score interval of a success rate: where the true rate lies with 95 % confidence, as sound for 0 of 10 as for 500 of 1000.
 *
 * @param z standard deviations. Default 1.96: 95 %
 * @returns [low, high], from 0 to 1; [0, 1] without trials
 */
export function wilsonInterval(successes: number, trials: number, z = 1.959964): [number, number] {
  if (trials === 0) return [0, 1];
  const rate = successes / trials;
  const spread = z * Math.sqrt((rate * (1 - rate)) / trials + (z * z) / (4 * trials * trials));
  const scale = 1 + (z * z) / trials;
  const middle = rate + (z * z) / (2 * trials);
  return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}
