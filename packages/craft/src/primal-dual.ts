/**
 * The primal-dual side: how strongly retention counts, and how much forgetting is tolerated.
 *
 * Primal problem: minimise L_task(θ) subject to L_retain(θ) ≤ ε(t). Its Lagrangian is
 * L(θ, λ) = L_task(θ) + λ·(L_retain(θ) − ε), and the dual problem maximises over λ ≥ 0 what is left after minimising over θ.
 * Training alternates: the optimiser descends in θ along ∇L_task + λ·∇L_retain, and λ ascends along
 * ∂L/∂λ = L_retain − ε, clipped to [0, λ_max]. λ is the price of violating the constraint: it rises while the old task is
 * forgotten beyond ε and falls to 0 while there is room. At an optimum λ·(L_retain − ε) = 0 (complementary slackness).
 * Geometrically, where the constraint binds, ∇L_task = −λ·∇L_retain: the task's pull is balanced by the boundary's.
 *
 * Reference: S. Boyd, L. Vandenberghe, Convex Optimization, chapter 5 (Lagrangian duality), 2004.
 */
import { CraftError } from '@craft-ft/torch/errors';
import type { EpsilonScheduleType } from './dual-state.js';

// Share of the way from ε₀ to ε₁ that is still left at progress p.
const REMAINING: Record<EpsilonScheduleType, (p: number) => number> = {
  linear: (p) => 1 - p,
  cosine: (p) => 0.5 * (1 + Math.cos(Math.PI * p)),
  exponential: (p) => Math.exp(-5 * p),
  constant: () => 1,
};

const clip = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);

/**
 * The tolerated retention loss ε at a step.
 *
 * With p = min(step / decaySteps, 1): `linear` ε₀ − (ε₀ − ε₁)·p falls evenly; `cosine` ε₁ + ½(ε₀ − ε₁)(1 + cos πp) is flat
 * at both ends; `exponential` ε₁ + (ε₀ − ε₁)·e^(−5p) does most of it early and stops 0.7 % of the way above ε₁;
 * `constant` is ε₀ throughout, whatever the other arguments. The result never leaves its two ends, not even by rounding.
 *
 * @param step counted from 0; at step 0, ε is ε₀
 * @param epsilonStart ε₀, in the units of the retention loss
 * @param epsilonEnd ε₁, kept from `decaySteps` on
 * @param decaySteps steps until then; 0 or less: ε₁ at every step
 * @param scheduleType default `linear`
 * @throws CraftError `EPSILON_SCHEDULE_UNKNOWN`
 *
 * @example
 * ```ts
 * epsilonSchedule(500, 1, 0.5, 1000, 'linear'); // 0.75
 * ```
 */
export function epsilonSchedule(
  step: number,
  epsilonStart: number,
  epsilonEnd: number,
  decaySteps: number,
  scheduleType: EpsilonScheduleType = 'linear',
): number {
  if (!Object.hasOwn(REMAINING, scheduleType)) {
    const known = Object.keys(REMAINING).join(', ');
    const message = `epsilon_schedule: ${scheduleType} is unknown; use one of ${known}`;
    throw new CraftError('EPSILON_SCHEDULE_UNKNOWN', message);
  }
  if (scheduleType === 'constant') return epsilonStart;
  if (decaySteps <= 0) return epsilonEnd;
  const remaining = REMAINING[scheduleType](clip(step / decaySteps, 0, 1));
  const epsilon = epsilonEnd + (epsilonStart - epsilonEnd) * remaining;
  return clip(epsilon, Math.min(epsilonStart, epsilonEnd), Math.max(epsilonStart, epsilonEnd));
}

/**
 * One step of dual ascent: λ ← clip(λ + λ_lr · (L_retain − ε), 0, λ_max).
 *
 * A NaN is refused: the original sets λ to 0 and continues without protection. An infinite loss clips to
 * `lambdaMax`, as in the original. With `lambdaLr` 0, λ stays where it is, whatever the loss.
 *
 * @param currentLambda λ before the step; above `lambdaMax` it is brought down
 * @param retentionLoss L_retain, averaged over the processes where there are several
 * @param epsilon ε of this step
 * @param lambdaLr step size, at least 0
 * @param lambdaMax upper bound, above 0
 * @returns λ for the next step, within [0, lambdaMax]
 * @throws CraftError `RETENTION_LOSS_NAN`; `LAMBDA_NAN` where another argument is, or makes λ, NaN
 *
 * @example
 * ```ts
 * updateLambda(1, 1.5, 1, 0.5, 10); // 1.25
 * ```
 */
export function updateLambda(
  currentLambda: number,
  retentionLoss: number,
  epsilon: number,
  lambdaLr: number,
  lambdaMax: number,
): number {
  refuseNaN(retentionLoss);
  const step = lambdaLr === 0 ? 0 : lambdaLr * (retentionLoss - epsilon);
  const lambda = clip(currentLambda + step, 0, lambdaMax);
  if (Number.isNaN(lambda)) {
    const values = `λ ${currentLambda}, L_retain ${retentionLoss}, ε ${epsilon}, lambda_lr ${lambdaLr}`;
    throw new CraftError('LAMBDA_NAN', `λ would become NaN (${values}, lambda_max ${lambdaMax})`);
  }
  return lambda;
}

/** Weights of the three parts of λ, and how the noisy two are smoothed. */
interface PidGains {
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
 * Dual ascent is the integral part alone. There λ and L_retain form an undamped oscillator: λ keeps rising for as long as the
 * constraint is violated, however fast the violation shrinks, and has to be paid back by overshooting. The proportional part follows
 * the violation itself, which damps the oscillation; the derivative part acts before a violation has grown, and only on rises, so that it
 * never pushes the loss up. Keeping I within λ's own bounds stops it from winding up where ε cannot be met.
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
  refuseNaN(retentionLoss);
  const integral = clip(memory.integral + ki * (retentionLoss - epsilon), 0, lambdaMax);
  const before = memory.smoothed ?? retentionLoss;
  const smoothed = smoothing * before + (1 - smoothing) * retentionLoss;
  const rise = Math.max(0, smoothed - before);
  const lambda = clip(kp * (smoothed - epsilon) + integral + kd * rise, 0, lambdaMax);
  return { lambda, memory: { integral, smoothed } };
}

function refuseNaN(retentionLoss: number): void {
  if (!Number.isNaN(retentionLoss)) return;
  const remedy = 'check the anchor data, or lower optimizer.lr or craft.lambda_max';
  throw new CraftError('RETENTION_LOSS_NAN', `the retention loss is NaN, λ cannot be updated; ${remedy}`);
}
