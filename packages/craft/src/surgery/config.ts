import { z } from 'zod';

/** What is done about two gradients that pull in different directions. */
export const surgerySchema = z.enum(['projection', 'none', 'pcgrad', 'agem', 'cagrad']);
export type SurgeryType = z.infer<typeof surgerySchema>;

/** What the surgery decides about at a time. */
export const surgeryGranularitySchema = z.enum(['model', 'module', 'tensor']);
export type SurgeryGranularity = z.infer<typeof surgeryGranularitySchema>;

/** What `conflict_threshold` is a threshold of. */
export const conflictMetricSchema = z.enum(['cosine', 'dot']);
export type ConflictMetric = z.infer<typeof conflictMetricSchema>;

/** How the task gradient and the retention gradient become one. */
export const projectionModeSchema = z.enum(['weighted', 'equal', 'task_priority']);
export type ProjectionMode = z.infer<typeof projectionModeSchema>;

/** Fields of the craft configuration that say how two gradients become one. */
export const surgeryFields = {
  surgery: surgerySchema
    .default('projection')
    .describe(
      'What is done about a conflict. projection: the task gradient drops its component against retention, then both are merged ' +
        '(one-sided PCGrad). pcgrad: both drop theirs. agem: only on opposition, and retention is not added, so that λ has no ' +
        'effect (A-GEM). cagrad: near the merged gradient, whatever helps the worse-off of the two most. none: merge only.',
    ),
  use_grad_projection: z
    .boolean()
    .default(true)
    .describe(
      'On conflict, remove from the task gradient its component against the retention gradient (PCGrad), before both are ' +
        'merged. false: as surgery=none.',
    ),
  conflict_threshold: z
    .number()
    .default(-0.1)
    .describe(
      'Conflict is a cosine (or dot product, see conflict_metric) below this. Typical: -0.3 to 0; more negative projects ' +
        'less often, 0 on any opposition, above 1 at every retention step. For projection and pcgrad.',
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
  cagrad_c: z
    .number()
    .min(0)
    .lt(1)
    .default(0.5)
    .describe(
      'cagrad: how far from the merged gradient to look, as a share of its length. 0: none; 0.4 to 0.5 is usual.',
    ),
  surgery_granularity: surgeryGranularitySchema
    .default('model')
    .describe(
      'What conflict and surgery are decided for. model: all parameters as one vector; module: each block (layer) on its own; ' +
        'tensor: each parameter. Finer finds conflicts that cancel in the whole, and projects more.',
    ),
};
