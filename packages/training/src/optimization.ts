import type { Policy } from '@craft-ft/policies';
import type { OptimizerConfig, SchedulerConfig } from '@craft-ft/policies/config';
import { optim } from '@craft-ft/torch';

/** What one optimiser step did. */
export interface AppliedStep {
  /** Norm of the gradient before clipping. */
  gradNorm: number;
  /** Learning rate of the first parameter group. */
  lr: number;
}

/** A policy's parameters in flat memory, with the optimiser, schedule and clipping that a run's configuration asks for. */
export class Optimization {
  readonly parameters: optim.FlatParameters;
  readonly adamw: optim.AdamW;
  readonly schedule: optim.Schedule;
  readonly #clipNorm: number;

  /** @param steps length of the run, which some schedules depend on */
  constructor(policy: Policy, optimizer: OptimizerConfig, scheduler: SchedulerConfig | null, steps: number) {
    this.parameters = new optim.FlatParameters(policy.parameterGroups());
    this.adamw = new optim.AdamW(this.parameters, {
      lr: optimizer.lr,
      betas: optimizer.betas,
      eps: optimizer.eps,
      weightDecay: optimizer.weight_decay,
    });
    this.schedule = makeSchedule(scheduler, steps);
    this.#clipNorm = optimizer.grad_clip_norm;
  }

  /**
   * Clips a gradient and updates the parameters with it, in one pass over memory; the gradient itself stays as it is. One whose
   * norm is not finite changes nothing: the caller sees it in the result and stops.
   *
   * @param gradient also a linear combination of two, which is formed in that pass and stored nowhere: a parameter that either of them
   *   reached is updated, one that neither reached is left alone
   * @param gradNorm the gradient's norm, where the caller knows it already; of a combination it must (`torch.optim.gram` gives the
   *   inner products that it follows from)
   */
  apply(step: number, gradient: optim.FlatGradient, gradNorm?: number): AppliedStep;
  apply(step: number, gradient: optim.CombinedGradient, gradNorm: number): AppliedStep;
  apply(
    step: number,
    gradient: optim.FlatGradient | optim.CombinedGradient,
    gradNorm = 'flat' in gradient ? optim.gradNorm(gradient.flat) : Number.NaN,
  ): AppliedStep {
    const factor = this.schedule(step);
    const result = { gradNorm, lr: this.adamw.learningRates[0] * factor };
    if (!Number.isFinite(gradNorm)) return result;
    const scale = this.#clipNorm > 0 ? optim.clipFactor(gradNorm, this.#clipNorm) : 1;
    this.adamw.step(gradient, factor, scale);
    return result;
  }
}

/** The schedule a configuration describes; null is a constant rate. */
export function makeSchedule(config: SchedulerConfig | null, steps: number): optim.Schedule {
  if (config === null) return optim.constantSchedule();
  if (config.type === 'cosine_decay_with_warmup') {
    return optim.cosineDecayWithWarmup({
      numWarmupSteps: config.num_warmup_steps,
      numDecaySteps: config.num_decay_steps,
      peakLr: config.peak_lr,
      decayLr: config.decay_lr,
      numTrainingSteps: steps,
    });
  }
  const rest =
    config.type === 'constant'
      ? optim.constantSchedule()
      : optim.linearSchedule({
          numDecaySteps: config.num_decay_steps || steps,
          endFactor: config.decay_factor,
        });
  return optim.withWarmup(rest, config.num_warmup_steps);
}
