import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import type { CraftConfig } from './config.js';
import { resolveEpsilon } from './config.js';
import { type PidMemory, pidLambda } from './pid.js';
import { epsilonSchedule, updateLambda } from './primal-dual.js';

/** The settings that drive λ and ε: fields of `CraftConfig`, and the number of steps of the run. */
export type DualSettings = Pick<
  CraftConfig,
  | 'lambda_lr'
  | 'lambda_max'
  | 'lambda_controller'
  | 'lambda_kp'
  | 'lambda_ki'
  | 'lambda_kd'
  | 'lambda_smoothing'
  | 'retention_mode'
  | 'retention_modes'
  | 'epsilon_start'
  | 'epsilon_end'
  | 'epsilon_decay_steps'
  | 'epsilon_schedule'
  | 'epsilon_mode'
> & {
  /** Steps of the run; ε falls over these where `epsilon_decay_steps` is 0. */
  steps: number;
};

const stateSchema = z.strictObject({
  lambda: z.number().min(0),
  epsilon: z.number().nullable(),
  updates: z.int().min(0),
  baselineLoss: z.number().positive().nullable(),
  // Absent in checkpoints from before there was a controller besides dual ascent, whose integral λ itself is.
  pid: z.strictObject({ integral: z.number().min(0), smoothed: z.number().nullable() }).optional(),
});

/** {@link DualState} as it lies in a checkpoint. */
export type DualStateJson = Required<z.infer<typeof stateSchema>>;

/**
 * Where the primal-dual control stands: a value, never modified; each change returns the next one.
 *
 * Everything a run needs to go on exactly where it stopped; JSON keeps every bit of a finite number. ε itself depends on the
 * step alone and is kept for display only.
 *
 * @example
 * ```ts
 * const settings = { ...craftConfigSchema.parse({ lambda_lr: 0.5, epsilon_mode: 'absolute', epsilon_start: 1 }), steps: 100 };
 * const state = DualState.initial(1).update(0, 1.5, settings);
 * state.lambda; // 1.25
 * DualState.fromJSON(JSON.parse(JSON.stringify(state)), 'craft_state.json').lambda; // 1.25
 * ```
 */
export class DualState implements DualStateJson {
  private constructor(
    /** λ for the next merge. */
    readonly lambda: number,
    /** ε of the last update; null before the first. */
    readonly epsilon: number | null,
    /** λ updates so far. */
    readonly updates: number,
    /** Retention loss before the first step, which `epsilon_mode: "relative"` multiplies; null until measured. */
    readonly baselineLoss: number | null,
    /** What the PID controller remembers; kept up to date by dual ascent too, so that one can take over from the other. */
    readonly pid: PidMemory,
  ) {}

  /** @param lambda `initial_lambda` */
  static initial(lambda: number): DualState {
    return new DualState(lambda, null, 0, null, { integral: lambda, smoothed: null });
  }

  /**
   * Sets the loss that relative ε are measured against.
   *
   * @throws CraftError `EPSILON_BASELINE` unless it is finite and above 0
   */
  withBaseline(loss: number): DualState {
    if (!(loss > 0 && Number.isFinite(loss))) {
      const remedy = 'use craft.epsilon_mode=absolute, for example with craft.epsilon_start=0.05';
      throw new CraftError(
        'EPSILON_BASELINE',
        `a relative ε needs a starting loss above 0, got ${loss}; ${remedy}`,
      );
    }
    return new DualState(this.lambda, this.epsilon, this.updates, loss, this.pid);
  }

  /**
   * ε at a step (counted from 0), in the units of the retention loss.
   *
   * @throws CraftError `EPSILON_BASELINE` where ε is relative and {@link withBaseline} was not called
   */
  epsilonAt(step: number, settings: DualSettings): number {
    const { epsilon_decay_steps, epsilon_schedule, steps } = settings;
    const { mode, start, end } = resolveEpsilon(settings);
    const decaySteps = epsilon_decay_steps === 0 ? steps : epsilon_decay_steps;
    const epsilon = epsilonSchedule(step, start, end, decaySteps, epsilon_schedule);
    if (mode === 'absolute') return epsilon;
    if (this.baselineLoss === null) {
      const remedy = 'measure the retention loss before the first step';
      throw new CraftError(
        'EPSILON_BASELINE',
        `craft.epsilon_mode=relative without a starting loss: ${remedy}`,
      );
    }
    return epsilon * this.baselineLoss;
  }

  /**
   * The state after a retention step; merge with `lambda` of the state before it.
   *
   * @throws CraftError as {@link updateLambda} and {@link epsilonAt}
   */
  update(step: number, retentionLoss: number, settings: DualSettings): DualState {
    const epsilon = this.epsilonAt(step, settings);
    const { lambda, memory } = this.#control(...this.#measured(retentionLoss, epsilon, settings), settings);
    return new DualState(lambda, epsilon, this.updates + 1, this.baselineLoss, memory);
  }

  // A relative ε makes the constraint L / L₀ ≤ ε(t): λ follows it without knowing the scale of the loss. A violation of more than L₀
  // counts as L₀: λ then rises no faster than it can fall, and a short burst of many times L₀ does not leave it at its bound for good.
  #measured(loss: number, epsilon: number, settings: DualSettings): [loss: number, epsilon: number] {
    if (resolveEpsilon(settings).mode === 'absolute') return [loss, epsilon];
    const unit = this.baselineLoss!;
    return [Math.min(loss / unit, epsilon / unit + 1), epsilon / unit];
  }

  #control(loss: number, epsilon: number, settings: DualSettings): { lambda: number; memory: PidMemory } {
    const { lambda_controller, lambda_lr, lambda_max, lambda_smoothing: smoothing } = settings;
    const ki = settings.lambda_ki ?? lambda_lr;
    const gains = { kp: settings.lambda_kp, ki, kd: settings.lambda_kd, smoothing };
    if (lambda_controller === 'pid') return pidLambda(this.pid, loss, epsilon, gains, lambda_max);
    const lambda = updateLambda(this.lambda, loss, epsilon, lambda_lr, lambda_max);
    return { lambda, memory: { integral: lambda, smoothed: loss } };
  }

  toJSON(): DualStateJson {
    const { lambda, epsilon, updates, baselineLoss, pid } = this;
    return { lambda, epsilon, updates, baselineLoss, pid };
  }

  /**
   * @param value what {@link toJSON} returned
   * @param source where it comes from, for the error message
   * @throws CraftError `CRAFT_STATE_INVALID`
   */
  static fromJSON(value: unknown, source: string): DualState {
    const parsed = stateSchema.safeParse(value);
    if (!parsed.success) {
      const { path, message } = parsed.error.issues[0];
      const field = path.length > 0 ? path.join('.') : 'the state of λ and ε';
      throw new CraftError('CRAFT_STATE_INVALID', `${source}: ${field}: ${message}; the file is damaged`);
    }
    const { lambda, epsilon, updates, baselineLoss } = parsed.data;
    const pid = parsed.data.pid ?? { integral: lambda, smoothed: null };
    return new DualState(lambda, epsilon, updates, baselineLoss, pid);
  }
}
