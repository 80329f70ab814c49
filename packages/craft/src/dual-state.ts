import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { epsilonSchedule, type PidMemory, pidLambda, updateLambda } from './primal-dual.js';
import { comparesWithTeacher, type RetentionChoice, retentionWeights } from './retention/config.js';

/** How the threshold ε falls from `epsilon_start` to `epsilon_end`. */
export const epsilonScheduleSchema = z.enum(['linear', 'cosine', 'exponential', 'constant']);
export type EpsilonScheduleType = z.infer<typeof epsilonScheduleSchema>;

/** What ε is measured in. */
const epsilonModeSchema = z.enum(['auto', 'absolute', 'relative']);
type EpsilonMode = z.infer<typeof epsilonModeSchema>;

/** How λ follows the constraint. */
const lambdaControllerSchema = z.enum(['gradient', 'pid']);

/** Fields of the craft configuration that drive λ and ε. */
export const controlFields = {
  lambda_controller: lambdaControllerSchema
    .default('gradient')
    .describe(
      'How λ follows the violation e = L_retain - ε (as a share of the starting loss where ε is relative to it). gradient: dual ' +
        'ascent, λ <- λ + lambda_lr e, which swings when L_retain answers late. ' +
        'pid: λ = lambda_kp e + lambda_ki Σe + lambda_kd (rise of L_retain) reacts to the violation at once and damps the ' +
        'swings (Stooke et al., 2020).',
    ),
  initial_lambda: z
    .number()
    .min(0)
    .default(1)
    .describe(
      'λ, the weight of the retention gradient, at the start. Typical: 0.1 to 1; 0 protects only once the constraint has ' +
        'been violated. At most lambda_max.',
    ),
  lambda_lr: z
    .number()
    .min(0)
    .default(0.01)
    .describe(
      'Step size of λ: λ <- clip(λ + lambda_lr * e, 0, lambda_max) with the violation e = L_retain - ε, divided by the starting ' +
        'loss and at most 1 where ε is relative to it, so that one value fits losses of any scale. Typical: 0.01 to 0.1; with an ' +
        'absolute ε that divided by ε. Too large makes λ swing between its bounds, too small makes it come too late. λ moves only every ' +
        'retention_freq steps. 0: λ stays at initial_lambda.',
    ),
  lambda_kp: z
    .number()
    .min(0)
    .default(1)
    .describe(
      'pid: weight of the violation itself. Typical: 0.1 to 10, what λ should be while the violation e is 1.',
    ),
  lambda_ki: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe('pid: weight of the sum of violations, the part that gradient has alone. null: lambda_lr.'),
  lambda_kd: z
    .number()
    .min(0)
    .default(0)
    .describe(
      'pid: weight of the rise of L_retain between two updates; falls do not count. Typical: 0 to 10; noise of the anchors ' +
        'comes through unless lambda_smoothing is high.',
    ),
  lambda_smoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0.9)
    .describe(
      'pid: what the proportional and the derivative part see is a moving average of L_retain with this decay; the sum takes ' +
        'every value. 0: no smoothing.',
    ),
  lambda_max: z
    .number()
    .gt(0)
    .default(10)
    .describe(
      'Largest λ. Typical: 5 to 20. λ pinned here means that ε cannot be met: raise epsilon_end or add anchors, rather ' +
        'than raising the bound.',
    ),
  epsilon_start: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      'ε, the retention loss that is still acceptable, at the start; at least epsilon_end. null: the loss that the anchors have ' +
        'before training; for hidden, feature and action, which may start at 0, 0.05. With epsilon_mode=relative a factor: 1.1 ' +
        'allows 10 % more loss.',
    ),
  epsilon_end: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      'ε at the end. null: epsilon_start, so that ε is constant. Below the loss that is reachable at all, λ only grows to ' +
        'lambda_max.',
    ),
  epsilon_decay_steps: z
    .int()
    .min(0)
    .default(0)
    .describe(
      'Steps over which ε falls from epsilon_start to epsilon_end, where it then stays. 0: the steps of the run.',
    ),
  epsilon_schedule: epsilonScheduleSchema
    .default('linear')
    .describe(
      'Shape of that fall. linear: even; cosine: gentle at both ends; exponential: most of it early (e^-5p), ending close ' +
        'to epsilon_end; constant: epsilon_start throughout, and epsilon_end is not used.',
    ),
  epsilon_mode: epsilonModeSchema
    .default('auto')
    .describe(
      'absolute: ε is a loss. relative: ε(t) multiplies the retention loss measured on the anchors before the first step, so that ' +
        '1.1 means at most 10 % worse, and λ follows violations as shares of that loss; recommended when the scale of the loss is ' +
        'not known, and only for one that starts above 0. auto: absolute where epsilon_start or epsilon_end is given.',
    ),
};

const controlSchema = z.object(controlFields);

/** What {@link resolveEpsilon} looks at. */
interface EpsilonChoice {
  readonly epsilon_mode: EpsilonMode;
  readonly epsilon_start: number | null;
  readonly epsilon_end: number | null;
}

/** ε as it is, with everything filled in that depends on other fields. */
interface EpsilonSettings {
  mode: 'absolute' | 'relative';
  start: number;
  end: number;
}

/**
 * Fills in `auto` and null. With `auto`, an ε that is given is absolute, as in the original project; one that is not holds the old loss
 * where it is, or, where the loss is a distance from a teacher, allows 0.05.
 */
export function resolveEpsilon(config: EpsilonChoice & RetentionChoice): EpsilonSettings {
  const { epsilon_mode: mode, epsilon_start: start, epsilon_end: end } = config;
  const given = start ?? end;
  const relative =
    mode === 'auto'
      ? given === null && !retentionWeights(config).every(([each]) => comparesWithTeacher(each))
      : mode === 'relative';
  const first = given ?? (relative ? 1 : 0.05);
  return { mode: relative ? 'relative' : 'absolute', start: first, end: end ?? first };
}

/** What drives λ and ε in a run: fields of the configuration, with everything resolved that depends on others. */
export type DualSettings = Readonly<
  Pick<
    z.infer<typeof controlSchema>,
    | 'lambda_lr'
    | 'lambda_max'
    | 'lambda_controller'
    | 'lambda_kp'
    | 'lambda_ki'
    | 'lambda_kd'
    | 'lambda_smoothing'
    | 'epsilon_schedule'
  >
> & {
  readonly epsilon: EpsilonSettings;
  /** Steps over which ε falls. */
  readonly decaySteps: number;
};

/** @param steps of the run, over which ε falls unless `epsilon_decay_steps` says otherwise */
export function dualSettings(
  config: z.infer<typeof controlSchema> & RetentionChoice,
  steps: number,
): DualSettings {
  const decaySteps = config.epsilon_decay_steps === 0 ? steps : config.epsilon_decay_steps;
  return { ...config, epsilon: resolveEpsilon(config), decaySteps };
}

const stateSchema = z.strictObject({
  lambda: z.number().min(0),
  epsilon: z.number().nullable(),
  updates: z.int().min(0),
  baselineLoss: z.number().positive().nullable(),
  // Absent in old checkpoints, which had dual ascent only; its integral is λ itself.
  pid: z.strictObject({ integral: z.number().min(0), smoothed: z.number().nullable() }).optional(),
});

/** {@link DualState} as it lies in a checkpoint. */
type DualStateJson = Required<z.infer<typeof stateSchema>>;

/**
 * State of the primal-dual controller. Immutable: each change returns a new state.
 *
 * Everything a run needs to resume exactly; JSON keeps every bit of a finite number. ε itself depends on the
 * step alone and is kept for display only.
 *
 * @example
 * ```ts
 * const settings = dualSettings(craftConfigSchema.parse({ lambda_lr: 0.5, epsilon_mode: 'absolute', epsilon_start: 1 }), 100);
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
    const { mode, start, end } = settings.epsilon;
    const epsilon = epsilonSchedule(step, start, end, settings.decaySteps, settings.epsilon_schedule);
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
    if (settings.epsilon.mode === 'absolute') return [loss, epsilon];
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

/** An absolute ε further from the retention loss than this factor is probably a mistake. */
const FAR = 5;

/** Distances from a teacher below this are float16 rounding of the stored targets. */
const ROUNDING = 1e-3;

/**
 * Warns when ε is on a different scale from the loss it bounds, which drives λ to a bound and keeps it there.
 *
 * @param start the retention loss before the first step
 */
export function scaleWarnings(
  { mode, start: epsilon }: EpsilonSettings,
  config: RetentionChoice,
  start: number,
): string[] {
  // The distance from a teacher begins near 0 where training starts from that teacher, and grows from there.
  const fromTeacher = retentionWeights(config).every(([each]) => comparesWithTeacher(each));
  if (mode === 'relative') {
    if (!fromTeacher || start > ROUNDING) return [];
    const remedy = 'use --craft.epsilon_mode=absolute, for example with --craft.epsilon_start=0.05';
    return [
      `warning: training starts from the teacher, and a relative ε would be a share of almost nothing; ${remedy}`,
    ];
  }
  const tooLarge = start > 0 && !fromTeacher && epsilon > FAR * start;
  if (start <= FAR * epsilon && !tooLarge) return [];
  const remedy = '--craft.epsilon_mode=relative measures it against that loss';
  return [`warning: craft.epsilon_start=${epsilon} is on another scale than the retention loss; ${remedy}`];
}
