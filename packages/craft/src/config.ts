import type { Problem } from '@craft-ft/policies/config';
import type { NotYet } from '@craft-ft/training/config';
import { z } from 'zod';
import { anchorFields, validateAnchors } from './anchors/config.js';
import { controlFields, resolveEpsilon } from './dual-state.js';
import { comparesWithTeacher, retentionFields, retentionWeights } from './retention/config.js';
import { surgeryFields } from './surgery/surgery.js';

export {
  type AnchorKind,
  type AnchorSelection,
  anchorKindSchema,
  anchorSelectionSchema,
} from './anchors/config.js';

export { type EpsilonScheduleType, resolveEpsilon } from './dual-state.js';
export * from './retention/config.js';
export type {
  ConflictMetric,
  ProjectionMode,
  SurgeryGranularity,
  SurgeryType,
} from './surgery/surgery.js';

/**
 * Every hyper-parameter of CRaFT: minimise L_task subject to L_retain ≤ ε(t), with λ as the multiplier.
 *
 * Names are those of the original Python project, and so are the defaults, with these exceptions: `retention_mode` is `loss` (the
 * policy's own loss, which needs no teacher; theirs is `hidden`), `retention_scale` is `step` (theirs is `event`), and ε keeps the loss
 * where it starts (`epsilon_mode: "auto"`; theirs is an absolute ε falling from 1.0 to 0.1, whatever the scale of the loss).
 *
 * Start with: `enabled`, an anchor source and `retention_mode`; then `epsilon_start`, how much may be forgotten; leave the rest at its
 * defaults.
 */
export const craftConfigSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      'Train with CRaFT. false: plain fine-tuning, exactly as without any craft.* field. true needs an anchor source.',
    ),
  anchor_dataset_path: z
    .string()
    .default('')
    .describe(
      'Dataset of the old task that must not be forgotten: its folder, or its user/name as in dataset.repo_id. Same ' +
        'features as the task dataset; rename_map applies to both. Needed when enabled, unless there is an anchor_cache_dir.',
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
  ...retentionFields,
  ...anchorFields,
  ...controlFields,
  ...surgeryFields,
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

/** Fields of the original Python project that are not available: none. */
export const CRAFT_FLAGS_NOT_YET: readonly NotYet[] = [];

/**
 * Rules between the fields, under the field names of the whole configuration (`craft.lambda_max`).
 *
 * Also applies while `enabled` is false, so that a wrong value is reported early.
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
  const epsilon = resolveEpsilon(config);
  if (config.epsilon_schedule !== 'constant' && epsilon.start < epsilon.end) {
    refuse('epsilon_start', `expected at least craft.epsilon_end (${epsilon.end})`, [
      'epsilon_end',
      'epsilon_schedule',
    ]);
  }
  const modes = retentionWeights(config);
  if (modes.length === 0) {
    refuse('retention_modes', 'expected at least one mode, or null for craft.retention_mode', [
      'retention_mode',
    ]);
  }
  if (
    config.epsilon_mode === 'relative' &&
    config.anchor_cache_dir === '' &&
    modes.every(([mode]) => comparesWithTeacher(mode))
  ) {
    const zero = 'the loss starts at 0, since the teacher is what training starts from: expected absolute';
    refuse('epsilon_mode', zero, ['retention_mode', 'retention_modes', 'anchor_cache_dir']);
  }
  if (config.initial_lambda > config.lambda_max) {
    refuse('initial_lambda', `expected at most craft.lambda_max (${config.lambda_max})`, ['lambda_max']);
  }
  return [...validateAnchors(config, 'craft', config.enabled ? 'craft.enabled=true' : null), ...problems];
}
