import { CraftError } from '@craft-ft/torch';

/** Weights of the three parts of λ, and how the noisy two are smoothed. */
export interface PidGains {
  /** Of the violation e = L_retain − ε. */
  kp: number;
  /** Of the sum of violations. */
  ki: number;
  /** Of the rise of L_retain since the update before. */
  kd: number;
  /** Decay of the moving average of L_retain that the first and the last part see; 0: none. */
  smoothing: number;
}

/** What the controller remembers between two updates. */
export interface PidMemory {
  /** The integral part of λ itself, within [0, lambda_max]. */
  integral: number;
  /** Moving average of L_retain, in the units of the violation; null before the first update. */
  smoothed: number | null;
}

/**
 * One update of λ by a PID controller (A. Stooke, J. Achiam, P. Abbeel, Responsive Safety in Reinforcement Learning by PID
 * Lagrangian Methods, ICML 2020):
 *
 *     I ← clip(I + K_i·(L − ε), 0, λ_max);   L̄ ← s·L̄ + (1 − s)·L
 *     λ = clip(K_p·(L̄ − ε) + I + K_d·max(0, L̄ − L̄_before), 0, λ_max)
 *
 * Dual ascent is the integral part alone. There λ and L_retain form an oscillator without friction: λ keeps rising for as long as the
 * constraint is violated, however fast the violation shrinks, and has to be paid back by overshooting. The proportional part follows
 * the violation itself, which is friction; the derivative part acts before a violation has grown, and counts rises only, so that it
 * never hurries the loss up. Keeping I within λ's own bounds stops it from winding up where ε cannot be met.
 *
 * @throws CraftError `RETENTION_LOSS_NAN`
 *
 * @example
 * ```ts
 * const gains = { kp: 1, ki: 0.5, kd: 0, smoothing: 0 };
 * const { lambda } = pidLambda({ integral: 1, smoothed: null }, 1.5, 1, gains, 10);
 * lambda; // 1.75
 * ```
 */
export function pidLambda(
  memory: PidMemory,
  retentionLoss: number,
  epsilon: number,
  { kp, ki, kd, smoothing }: PidGains,
  lambdaMax: number,
): { lambda: number; memory: PidMemory } {
  if (Number.isNaN(retentionLoss)) {
    const remedy = 'check the anchor data, or lower optimizer.lr or craft.lambda_max';
    throw new CraftError('RETENTION_LOSS_NAN', `the retention loss is NaN, λ cannot be updated; ${remedy}`);
  }
  const clip = (value: number) => Math.min(Math.max(value, 0), lambdaMax);
  const integral = clip(memory.integral + ki * (retentionLoss - epsilon));
  const before = memory.smoothed ?? retentionLoss;
  const smoothed = smoothing * before + (1 - smoothing) * retentionLoss;
  const lambda = clip(kp * (smoothed - epsilon) + integral + kd * Math.max(0, smoothed - before));
  return { lambda, memory: { integral, smoothed } };
}
