import { z } from 'zod';

/** How the retention loss is measured. */
const retentionModeSchema = z.enum(['loss', 'token_ce', 'hidden', 'feature', 'action']);
export type RetentionMode = z.infer<typeof retentionModeSchema>;

/** Whether retention every K steps compensates for the steps in between. */
const retentionScaleSchema = z.enum(['event', 'step']);

/** How features are compared with the teacher's. */
const hiddenLossSchema = z.enum(['mse', 'cosine', 'l1']);

/** Which tokens make a feature, see `poolHiddenStates`. */
export const poolingSchema = z.enum(['mean_image_tokens', 'mean_masked', 'last_token', 'cls_token']);

/** Fields of the craft configuration that say what is remembered, how it is measured and how often. */
export const retentionFields = {
  retention_freq: z
    .int()
    .min(1)
    .default(5)
    .describe(
      'Retention every K steps: K - 1 plain steps, then one with a second backward pass, surgery and a λ update. 1 ' +
        'protects best and costs most; 5 to 10 is typical. With larger K, consider stale_projection.',
    ),
  retention_mode: retentionModeSchema
    .default('loss')
    .describe(
      "What retention means. loss: the policy's own training loss on the anchors, no teacher. token_ce: the same with the " +
        "teacher's action tokens as labels (policies that predict tokens). The others keep the policy close to a frozen " +
        'teacher: hidden: its pooled hidden states; feature: one of them; action: its actions (ACT). The teacher is the one ' +
        'of anchor_cache_dir; with an anchor dataset, the weights that training starts from.',
    ),
  retention_modes: z
    .partialRecord(retentionModeSchema, z.number().gt(0))
    .nullable()
    .default(null)
    .meta({
      description:
        'Several modes at once, with their weights, in place of retention_mode: {loss: 1, hidden: 0.5} makes L_retain = L_loss ' +
        '+ 0.5 L_hidden. Each costs a forward and a backward pass over the anchors.',
      typeText: '{mode: weight} or null',
    }),
  retention_reduction: z
    .enum(['mean', 'sum'])
    .default('mean')
    .describe(
      'How the losses of the anchors of a batch become one number. sum: anchor_batch_size times the mean; ε and λ then depend ' +
        'on the batch size.',
    ),
  hidden_layers: z
    .array(z.int())
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Hidden states that hidden compares (feature: the first of them). n layers have n + 1: 0 is the embeddings, n the output ' +
        'after the final norm, negative ones count from the end. null: those of the anchor cache; without one, [-2], which is ' +
        'general enough to leave the last layer free for the new task.',
    ),
  hidden_poolings: z
    .array(poolingSchema)
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Which tokens make a feature: mean_image_tokens (all cameras), mean_masked (every token), last_token, cls_token (the first ' +
        'one). null: those of the anchor cache; without one, [mean_masked].',
    ),
  hidden_loss: hiddenLossSchema
    .default('mse')
    .describe(
      "Distance of features from the teacher's, for hidden and feature. mse: grows with the square, so that small drifts are free; " +
        'l1: every drift counts alike; cosine: 1 - cos, directions only.',
    ),
  normalize_features: z
    .boolean()
    .default(true)
    .describe(
      "Divide mse by the mean square of the teacher's features (l1 by its root), layer by layer, so that the loss, and ε with " +
        'it, is a fraction: 0.05 is a drift of 5 % of the signal. false: in the units of the features.',
    ),
  action_loss: z
    .enum(['l1', 'mse'])
    .default('l1')
    .describe("Distance of actions from the teacher's, in normalised units, for action."),
  retention_scale: retentionScaleSchema
    .default('step')
    .describe(
      'step: the retention gradient is multiplied by K = retention_freq, so that its mean weight is λ whatever K is, in stronger ' +
        'bursts. event: it counts once, in the step that computes it, as in the original project, so that over K steps its weight ' +
        'is λ/K. In a comparison on small ACT policies step met the constraint more often, at some cost to the new task.',
    ),
  stale_projection: z
    .boolean()
    .default(false)
    .describe(
      'On the K - 1 steps between two retention steps, project against the last retention gradient, which is not added. It is a ' +
        'cheap protection for large K (no anchors are read); keeps one more gradient in checkpoints.',
    ),
};

const retentionSchema = z.object(retentionFields);

/** Type of {@link retentionFields} with every default filled in. */
export type RetentionConfig = z.infer<typeof retentionSchema>;

/** What {@link retentionWeights} looks at. */
export interface RetentionChoice {
  readonly retention_mode: RetentionMode;
  readonly retention_modes: Readonly<Partial<Record<RetentionMode, number>>> | null;
}

/** The modes of a configuration with their weights. */
export function retentionWeights(config: RetentionChoice): [RetentionMode, number][] {
  if (config.retention_modes === null) return [[config.retention_mode, 1]];
  return Object.entries(config.retention_modes) as [RetentionMode, number][];
}

const FROM_TEACHER: readonly RetentionMode[] = ['hidden', 'feature', 'action'];

/** Whether a mode compares with a teacher, so that its loss is 0 where the policy equals it. */
export function comparesWithTeacher(mode: RetentionMode): boolean {
  return FROM_TEACHER.includes(mode);
}
