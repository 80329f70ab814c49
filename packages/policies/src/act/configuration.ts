import { z } from 'zod';
import type { Problem } from '../config/check.js';
import type { OptimizerConfig, SchedulerConfig } from '../config/optim.js';
import { basePolicyFields, normalizationMapping, validateBase } from '../config/policy-fields.js';

/**
 * ACT, the action chunking transformer. Fields and defaults are LeRobot's `ACTConfig`, those for a bimanual ALOHA arm.
 *
 * Unlike LeRobot, a policy whose only input is `observation.state` is allowed, and `task_embedding_dim` makes the instruction an
 * input; LeRobot can load a policy only if that is 0.
 */
export const actConfigSchema = z.strictObject({
  type: z.literal('act').describe('action chunking transformer'),
  ...basePolicyFields,
  chunk_size: z
    .int()
    .min(1)
    .default(100)
    .describe(
      'Actions predicted at once, in steps of the dataset. Typical: 10 to 100, about one to two seconds.',
    ),
  n_action_steps: z
    .int()
    .min(1)
    .default(100)
    .describe('Actions of a chunk that are carried out before the next prediction; at most chunk_size.'),
  normalization_mapping: normalizationMapping({ VISUAL: 'MEAN_STD', STATE: 'MEAN_STD', ACTION: 'MEAN_STD' }),
  vision_backbone: z
    .string()
    .regex(/^resnet/)
    .default('resnet18')
    .meta({ description: 'Network that encodes each camera image.', typeText: 'resnet...' }),
  pretrained_backbone_weights: z
    .string()
    .nullable()
    .default('ResNet18_Weights.IMAGENET1K_V1')
    .describe(
      "Weights that the backbone starts from: a safetensors file with torchvision's parameter names, or a repository of the " +
        'Hub with one (timm/resnet18.tv_in1k). null: random. ' +
        "torchvision's name of weights is accepted only where a policy brings its own (--policy.path).",
    ),
  replace_final_stride_with_dilation: z
    .preprocess((value) => (value === 0 ? false : value === 1 ? true : value), z.boolean())
    .default(false)
    .describe('Keep a finer grid of image features by dilating the last stage of the backbone.'),
  pre_norm: z
    .boolean()
    .default(false)
    .describe('Normalise before each block of the transformers instead of after it.'),
  dim_model: z
    .int()
    .min(2)
    .default(512)
    .describe('Width of the transformers; even, and divisible by n_heads.'),
  n_heads: z.int().min(1).default(8).describe('Attention heads; they share dim_model between them.'),
  dim_feedforward: z.int().min(1).default(3200).describe('Width of the feed-forward layers.'),
  feedforward_activation: z
    .enum(['relu', 'gelu'])
    .default('relu')
    .describe('Activation of the feed-forward layers.'),
  n_encoder_layers: z
    .int()
    .min(1)
    .default(4)
    .describe('Layers of the transformer that reads the observation.'),
  n_decoder_layers: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'Layers of the transformer that writes the chunk. 1, as the original in effect trained only one.',
    ),
  use_vae: z
    .boolean()
    .default(true)
    .describe(
      'Train with a variational objective: a latent style variable encoded from the actions, 0 at inference.',
    ),
  latent_dim: z.int().min(1).default(32).describe('Size of that latent variable.'),
  n_vae_encoder_layers: z.int().min(1).default(4).describe('Layers of the encoder of the latent variable.'),
  temporal_ensemble_coeff: z
    .number()
    .nullable()
    .default(null)
    .describe(
      'Average overlapping chunks with weights exp(-coeff * age); the original uses 0.01. null: off. Needs n_action_steps 1.',
    ),
  dropout: z.number().min(0).lt(1).default(0.1).describe('Share of activations dropped in training.'),
  kl_weight: z
    .number()
    .min(0)
    .default(10)
    .describe('Weight of the KL term: loss = L1 + kl_weight * KL. Used with use_vae.'),
  task_embedding_dim: z
    .int()
    .min(0)
    .default(0)
    .describe(
      'Extension: length of a fixed embedding of the instruction, which the encoder sees as one more token, so that one policy can ' +
        'do several tasks. 0: none, as in LeRobot. Typical: 64.',
    ),
  optimizer_lr: z.number().min(0).default(1e-5).describe('Learning rate of the preset.'),
  optimizer_weight_decay: z.number().min(0).default(1e-4).describe('Weight decay of the preset.'),
  optimizer_lr_backbone: z.number().min(0).default(1e-5).describe('Learning rate of the image backbone.'),
});
export type ActConfig = z.infer<typeof actConfigSchema>;

/** Rules between the fields of an ACT configuration. */
export function validateAct(config: ActConfig): Problem[] {
  const problems = validateBase(config);
  const refuse = (field: keyof ActConfig, message: string, related: (keyof ActConfig)[] = []) =>
    problems.push({
      field: `policy.${field}`,
      found: config[field],
      message,
      related: related.map((name) => `policy.${name}`),
    });
  if (config.n_obs_steps !== 1) refuse('n_obs_steps', 'expected 1: ACT sees the current observation only');
  if (config.n_action_steps > config.chunk_size) {
    refuse('n_action_steps', `expected at most policy.chunk_size (${config.chunk_size})`, ['chunk_size']);
  }
  if (config.temporal_ensemble_coeff !== null && config.n_action_steps !== 1) {
    refuse(
      'n_action_steps',
      'expected 1 with policy.temporal_ensemble_coeff: an ensemble predicts at every step',
      ['temporal_ensemble_coeff'],
    );
  }
  if (config.dim_model % config.n_heads !== 0) {
    refuse('dim_model', `expected a multiple of policy.n_heads (${config.n_heads})`, ['n_heads']);
  }
  if (config.dim_model % 2 !== 0) refuse('dim_model', 'expected an even number: half sines, half cosines');
  const inputs = Object.values(config.input_features);
  if (
    inputs.length > 0 &&
    !inputs.some(({ type }) => type === 'STATE' || type === 'ENV' || type === 'VISUAL')
  ) {
    refuse('input_features', 'expected at least one feature of type STATE, ENV or VISUAL');
  }
  return problems;
}

/** AdamW at `optimizer_lr`, with LeRobot's clipping at 10; the backbone's own rate is `optimizer_lr_backbone`. */
export function actOptimizerPreset(config: ActConfig): OptimizerConfig {
  return {
    type: 'adamw',
    lr: config.optimizer_lr,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: config.optimizer_weight_decay,
    grad_clip_norm: 10,
  };
}

/** ACT trains at a constant rate. */
export function actSchedulerPreset(): SchedulerConfig | null {
  return null;
}

/** The frames a sample needs, relative to its own: the current observation and the chunk of actions that starts there. */
export function actDeltaIndices(config: ActConfig): { observation: null; action: number[]; reward: null } {
  return {
    observation: null,
    action: Array.from({ length: config.chunk_size }, (_, step) => step),
    reward: null,
  };
}
