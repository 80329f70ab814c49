import type { NotYet, Problem } from '@craft-ft/lerobot/configs';
import { z } from 'zod';

/** How the retention loss is measured. */
export const retentionModeSchema = z.enum(['loss', 'token_ce', 'hidden', 'feature', 'action']);
export type RetentionMode = z.infer<typeof retentionModeSchema>;

/** How the threshold ε falls from `epsilon_start` to `epsilon_end`. */
export const epsilonScheduleSchema = z.enum(['linear', 'cosine', 'exponential', 'constant']);
export type EpsilonScheduleType = z.infer<typeof epsilonScheduleSchema>;

/** What the retention loss is compared with. */
export const epsilonModeSchema = z.enum(['absolute', 'relative']);
export type EpsilonMode = z.infer<typeof epsilonModeSchema>;

/** What `conflict_threshold` is a threshold of. */
export const conflictMetricSchema = z.enum(['cosine', 'dot']);
export type ConflictMetric = z.infer<typeof conflictMetricSchema>;

/** How the task gradient and the retention gradient become one. */
export const projectionModeSchema = z.enum(['weighted', 'equal', 'task_priority']);
export type ProjectionMode = z.infer<typeof projectionModeSchema>;

/** Whether K-step retention compensates for the steps without it. */
export const retentionScaleSchema = z.enum(['event', 'step']);
export type RetentionScale = z.infer<typeof retentionScaleSchema>;

/**
 * Every hyper-parameter of CRaFT: minimise L_task subject to L_retain ≤ ε(t), with λ as the multiplier.
 *
 * Names and defaults are those of the original Python project, except that `retention_mode` defaults to `loss` (the
 * policy's own loss, which needs no cache). Fields that it does not have: `anchor_dataset_root`, `anchor_episodes`,
 * `anchor_seed`, `epsilon_schedule`, `epsilon_mode`, `conflict_metric`, `retention_scale`.
 *
 * Where to begin: `enabled`, `anchor_dataset_path` and, from what the anchors cost before training, `epsilon_start` and
 * `epsilon_end`; the rest at its defaults.
 */
export const craftConfigSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      'Train with CRaFT. false: plain fine-tuning, exactly as without any craft.* field. true needs anchor_dataset_path.',
    ),

  anchor_dataset_path: z
    .string()
    .default('')
    .describe(
      'Dataset of the old task that must not be forgotten: its folder, or its user/name as in dataset.repo_id. Same ' +
        'features as the task dataset; rename_map applies to both. Needed when enabled.',
    ),
  anchor_dataset_root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder of that dataset when anchor_dataset_path is a user/name; works like dataset.root.'),
  anchor_episodes: z
    .array(z.int().min(0))
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Episodes of the anchor dataset to use, e.g. [10,28]. null: all. A few varied episodes often do; keep them apart ' +
        'from dataset.episodes when both come from one dataset.',
    ),
  anchor_batch_size: z
    .int()
    .min(1)
    .default(16)
    .describe(
      'Anchor samples per retention step. Typical: batch_size to 2 * batch_size; larger makes the retention gradient, and ' +
        'with it cosine and λ, steadier, at the cost of time on every retention_freq-th step.',
    ),
  anchor_seed: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      'Decides the order of the anchors, separately from the task data. null: derived from seed. Change it to see how ' +
        'much a result depends on which anchors came when.',
    ),

  retention_freq: z
    .int()
    .min(1)
    .default(5)
    .describe(
      'Retention every K steps: K - 1 plain steps, then one with a second backward pass, surgery and a λ update. 1 ' +
        'protects best and costs most; 5 to 10 is typical. With larger K, consider retention_scale=step.',
    ),
  retention_mode: retentionModeSchema
    .default('loss')
    .describe(
      "What retention means. loss: the policy's own training loss on the anchors. Only loss for now: the others compare " +
        'with a frozen teacher and need an anchor cache.',
    ),
  retention_scale: retentionScaleSchema
    .default('event')
    .describe(
      'event: the retention gradient counts once, in the step that computes it, so over K steps its weight is λ/K. step: ' +
        'it is multiplied by K = retention_freq, so its mean weight is λ whatever K is, in stronger bursts.',
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
      'Step size of λ: λ <- clip(λ + lambda_lr * (L_retain - ε), 0, lambda_max). Typical: 0.001 to 0.1; too large makes ' +
        'λ swing between its bounds, too small makes it come too late. λ moves only every retention_freq steps. 0: λ ' +
        'stays at initial_lambda.',
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
    .default(1)
    .describe(
      'ε, the retention loss that is still acceptable, at the start; at least epsilon_end. Take the retention loss before ' +
        'training as the measure: 1 to 2 times of it is typical. With epsilon_mode=relative it is that factor itself.',
    ),
  epsilon_end: z
    .number()
    .min(0)
    .default(0.1)
    .describe(
      'ε at the end. Below the loss that is reachable at all, λ only grows to lambda_max. Typical: 1 to 1.2 times the ' +
        'retention loss before training.',
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
    .default('absolute')
    .describe(
      'absolute: ε is a loss. relative: ε(t) multiplies the retention loss measured on the anchors before the first step, ' +
        'so that 1.1 means at most 10 % worse; recommended when the scale of the loss is not known. Needs a loss that ' +
        'starts above 0.',
    ),

  use_grad_projection: z
    .boolean()
    .default(true)
    .describe(
      'On conflict, remove from the task gradient its component against the retention gradient (PCGrad), before both are ' +
        'merged. false: merge only.',
    ),
  conflict_threshold: z
    .number()
    .default(-0.1)
    .describe(
      'Conflict is a cosine (or dot product, see conflict_metric) below this. Typical: -0.3 to 0; more negative projects ' +
        'less often, 0 on any opposition, above 1 at every retention step. Used with use_grad_projection.',
    ),
  conflict_metric: conflictMetricSchema
    .default('cosine')
    .describe(
      'What conflict_threshold is compared with. cosine: in [-1, 1], whatever the size of the gradients. dot: the raw dot ' +
        'product, as the original code does; its scale depends on the model.',
    ),
  projection_mode: projectionModeSchema
    .default('weighted')
    .describe(
      'Merge of task gradient t and retention gradient r. weighted: t + λ r, the Lagrangian; equal: (t + r) / 2, where λ ' +
        'has no effect; task_priority: t + min(λ, 1) r, so that retention never outweighs the task.',
    ),

  log_craft_metrics_freq: z
    .int()
    .min(0)
    .default(100)
    .describe(
      'Steps between two log lines that show L_retain, λ, ε, dot, cosine and conflict of the last retention step. 0: none.',
    ),
  save_lambda_history: z
    .boolean()
    .default(true)
    .describe('Write lambda_history.csv (step, L_retain, λ, ε, conflict, dot, cosine) into each checkpoint.'),
});

/** Type of {@link craftConfigSchema} with every default filled in. */
export type CraftConfig = z.infer<typeof craftConfigSchema>;

const CACHE =
  'anchor caches are not available yet; use craft.anchor_dataset_path with craft.retention_mode=loss';

/** Fields of the original Python project that are not available yet. */
export const CRAFT_FLAGS_NOT_YET: readonly NotYet[] = [
  { flag: 'craft.retention_mode', off: ['loss'], reason: CACHE, keep: true },
  { flag: 'craft.anchor_cache_dir', off: [''], reason: CACHE },
];

/**
 * Rules between the fields, under the field names of the whole configuration (`craft.lambda_max`).
 *
 * Holds also while `enabled` is false, so that a wrong value is found before it matters.
 */
export function validateCraft(config: CraftConfig): Problem[] {
  const problems: Problem[] = [];
  const refuse = (field: keyof CraftConfig, message: string, related: (keyof CraftConfig)[]) =>
    problems.push({
      field: `craft.${field}`,
      found: config[field],
      message,
      related: related.map((name) => `craft.${name}`),
    });
  if (config.enabled && config.anchor_dataset_path === '') {
    refuse('anchor_dataset_path', 'expected the dataset of the old task, since craft.enabled is true', [
      'enabled',
    ]);
  }
  if (config.anchor_dataset_root !== null && config.anchor_dataset_path === '') {
    refuse('anchor_dataset_path', 'expected the name of the dataset in craft.anchor_dataset_root', [
      'anchor_dataset_root',
      'enabled',
    ]);
  }
  if (config.epsilon_schedule !== 'constant' && config.epsilon_start < config.epsilon_end) {
    refuse('epsilon_start', `expected at least craft.epsilon_end (${config.epsilon_end})`, [
      'epsilon_end',
      'epsilon_schedule',
    ]);
  }
  if (config.initial_lambda > config.lambda_max) {
    refuse('initial_lambda', `expected at most craft.lambda_max (${config.lambda_max})`, ['lambda_max']);
  }
  return problems;
}
