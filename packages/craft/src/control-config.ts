import { z } from 'zod';
import { comparesWithTeacher, type RetentionChoice, retentionWeights } from './retention/config.js';

/** How the threshold ε falls from `epsilon_start` to `epsilon_end`. */
export const epsilonScheduleSchema = z.enum(['linear', 'cosine', 'exponential', 'constant']);
export type EpsilonScheduleType = z.infer<typeof epsilonScheduleSchema>;

/** What ε is measured in. */
export const epsilonModeSchema = z.enum(['auto', 'absolute', 'relative']);
export type EpsilonMode = z.infer<typeof epsilonModeSchema>;

/** How λ follows the constraint. */
export const lambdaControllerSchema = z.enum(['gradient', 'pid']);
export type LambdaController = z.infer<typeof lambdaControllerSchema>;

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

/** What {@link resolveEpsilon} looks at. */
export interface EpsilonChoice {
  readonly epsilon_mode: EpsilonMode;
  readonly epsilon_start: number | null;
  readonly epsilon_end: number | null;
}

/** ε as it is, with everything filled in that depends on other fields. */
export interface EpsilonSettings {
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
