import { CraftError } from '../errors.js';

/** A learning-rate schedule: what the rate is multiplied by during a step, counted from 0. A pure function, so it has no state. */
export type Schedule = (step: number) => number;

/** Always 1. */
export function constantSchedule(): Schedule {
  return () => 1;
}

/** From 1 to `endFactor` in equal steps over `numDecaySteps`, then constant. */
export function linearSchedule(options: { numDecaySteps: number; endFactor?: number }): Schedule {
  const { numDecaySteps, endFactor = 0 } = options;
  return (step) => 1 + (endFactor - 1) * Math.min(step / numDecaySteps, 1);
}

/** `schedule`, multiplied by a rise from 1 / (n + 1) to 1 over the first `numWarmupSteps` steps. */
export function withWarmup(schedule: Schedule, numWarmupSteps: number): Schedule {
  return (step) => schedule(step) * Math.min(1, (step + 1) / (numWarmupSteps + 1));
}

/** Settings of LeRobot's `cosine_decay_with_warmup`. */
export interface CosineDecayWithWarmupOptions {
  numWarmupSteps: number;
  numDecaySteps: number;
  peakLr: number;
  decayLr: number;
  /** Length of the run; one shorter than `numDecaySteps` shrinks warm-up and decay in proportion. */
  numTrainingSteps: number;
}

/** Warm-up and decay of a run after LeRobot's automatic scaling; the warm-up is cut to a whole number. */
export function effectiveSteps(options: CosineDecayWithWarmupOptions): { warmup: number; decay: number } {
  const { numWarmupSteps, numDecaySteps, numTrainingSteps } = options;
  if (numTrainingSteps >= numDecaySteps) return { warmup: numWarmupSteps, decay: numDecaySteps };
  const scale = numTrainingSteps / numDecaySteps;
  return { warmup: Math.trunc(numWarmupSteps * scale), decay: numTrainingSteps };
}

/**
 * Linear warm-up from 1 / (warmup + 1), then a cosine to `decayLr / peakLr`, as LeRobot's `CosineDecayWithWarmupSchedulerConfig`:
 * the cosine counts from step 0, not from the end of the warm-up, hence a small drop there.
 */
export function cosineDecayWithWarmup(options: CosineDecayWithWarmupOptions): Schedule {
  if (options.peakLr <= 0)
    throw new CraftError('SCHEDULE_INVALID', `peak_lr must be positive, found ${options.peakLr}`);
  const { warmup, decay } = effectiveSteps(options);
  const end = options.decayLr / options.peakLr;
  return (step) => {
    if (step < warmup) {
      if (step <= 0) return 1 / (warmup + 1);
      const rest = 1 - step / warmup;
      return (1 / (warmup + 1) - 1) * rest + 1;
    }
    const cosine = 0.5 * (1 + Math.cos((Math.PI * Math.min(step, decay)) / decay));
    return (1 - end) * cosine + end;
  };
}
