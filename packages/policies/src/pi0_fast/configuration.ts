import { isPlainObject } from '@craft-ft/datasets/json';
import { z } from 'zod';
import type { Problem } from '../config/check.js';
import type { OptimizerConfig, SchedulerConfig } from '../config/optim.js';
import {
  basePolicyFields,
  normalizationMapping,
  policyFeatureSchema,
  validateBase,
} from '../config/policy-fields.js';
import { PALIGEMMA_VARIANTS, VARIANT_SIZES } from '../vlm/paligemma.js';

const count = (value: number) => z.int().min(1).default(value);
const steps = (value: number) => z.int().min(0).default(value);
const amount = (value: number) => z.number().min(0).default(value);
const rate = z.number().min(0).lt(1);

/** The features that LeRobot adds for `empty_cameras`. */
const EMPTY_CAMERA = /^observation\.images\.empty_camera_\d+$/;

// LeRobot lists them among the inputs when it saves, and adds them again when it loads. No dataset has them.
function withoutEmptyCameras(features: unknown): unknown {
  if (features === null) return {};
  if (!isPlainObject(features)) return features;
  return Object.fromEntries(Object.entries(features).filter(([key]) => !EMPTY_CAMERA.test(key)));
}

/**
 * π0-FAST: a PaliGemma that predicts actions as FAST tokens (Pertsch et al., 2025). Fields and defaults are LeRobot's
 * `PI0FastConfig`, with two variants small enough for a laptop added.
 *
 * State and action default to QUANTILES: the prompt's 256 bins and the FAST tokeniser assume [-1, 1]. Older LeRobot versions default
 * to MEAN_STD; a checkpoint keeps its own.
 */
export const pi0FastConfigSchema = z.strictObject({
  type: z.literal('pi0_fast').describe('vision-language-action model with FAST action tokens'),
  ...basePolicyFields,
  input_features: z
    .preprocess(withoutEmptyCameras, z.record(z.string(), policyFeatureSchema))
    .default({})
    .meta({ ...basePolicyFields.input_features.meta() }),
  paligemma_variant: z
    .enum(PALIGEMMA_VARIANTS)
    .default('gemma_2b')
    .describe(
      'Size of the model: gemma_2b (3.4 billion parameters, the published one), gemma_300m (1.3 billion), and gemma_mini (45 million) ' +
        'and gemma_tiny (2.3 million) for a laptop.',
    ),
  action_expert_variant: z
    .string()
    .default('gemma_300m')
    .describe('Not used by this policy; kept for the checkpoint.'),
  dtype: z
    .enum(['bfloat16', 'float32'])
    .default('float32')
    .describe('Type of the weights. bfloat16 keeps the vision tower and the norms in float32, as LeRobot.'),
  chunk_size: count(50).describe('Actions predicted at once; also the length of the DCT behind the tokens.'),
  n_action_steps: count(50).describe(
    'Actions of a chunk that are carried out before the next prediction; at most chunk_size.',
  ),
  max_state_dim: count(32).describe('Shorter states are padded with zeros to this size in the prompt.'),
  max_action_dim: count(32).describe('Largest action; actions are tokenised in their own size.'),
  max_action_tokens: count(256).describe('Action tokens per sample; longer sequences are cut.'),
  use_relative_actions: z.boolean().default(false).describe('Predict actions relative to the current state.'),
  relative_exclude_joints: z
    .array(z.string())
    .default(['gripper'])
    .describe('With use_relative_actions: names of joints that stay absolute.'),
  action_feature_names: z
    .array(z.string())
    .nullable()
    .default(null)
    .describe('Names of the dimensions of the action; taken from the dataset.'),
  rtc_config: z.record(z.string(), z.unknown()).nullable().default(null).meta({
    description: 'Real-time chunking. Not available; kept for the checkpoint.',
    typeText: 'object or null',
  }),
  image_resolution: z
    .tuple([z.int().min(1), z.int().min(1)])
    .default([224, 224])
    .describe(
      'Height and width that camera images are resized to, with padding. 224 for gemma_2b and gemma_300m, else multiples of 14.',
    ),
  empty_cameras: steps(0).describe('Cameras to add that are always empty.'),
  tokenizer_max_length: count(200).describe('Tokens of the prompt; longer prompts are cut on the right.'),
  text_tokenizer_name: z
    .string()
    .default('google/paligemma-3b-pt-224')
    .describe(
      'Text tokeniser: a folder or a repository of the Hub with tokenizer.json, or builtin:bytes for small variants.',
    ),
  action_tokenizer_name: z
    .string()
    .default('lerobot/fast-action-tokenizer')
    .describe('FAST tokeniser: a folder (craft tokenizer train) or a repository of the Hub.'),
  temperature: amount(0).describe('Randomness of decoding. 0: the most likely token at each step.'),
  max_decoding_steps: count(256).describe('Tokens that decoding may produce for a chunk.'),
  fast_skip_tokens: steps(128).describe(
    'Ids at the end of the text vocabulary that no action token is mapped to.',
  ),
  validate_action_token_prefix: z
    .boolean()
    .default(true)
    .describe('Decode only sequences that start with "Action:"; others give zeros.'),
  use_kv_cache: z
    .boolean()
    .default(true)
    .describe('Decode with cached keys and values: same tokens, less time.'),
  normalization_mapping: normalizationMapping({
    VISUAL: 'IDENTITY',
    STATE: 'QUANTILES',
    ACTION: 'QUANTILES',
  }),
  gradient_checkpointing: z
    .boolean()
    .default(false)
    .describe('Compute activations twice instead of keeping them: less memory, about a third more time.'),
  compile_model: z.boolean().default(false).describe('Not available; kept for the checkpoint.'),
  compile_mode: z.string().default('max-autotune').describe('Not available; kept for the checkpoint.'),
  optimizer_lr: amount(2.5e-5).describe('Learning rate of the preset, at its peak.'),
  optimizer_betas: z.tuple([rate, rate]).default([0.9, 0.95]).describe("AdamW's betas of the preset."),
  optimizer_eps: z.number().gt(0).default(1e-8).describe("AdamW's eps of the preset."),
  optimizer_weight_decay: amount(0.01).describe('Weight decay of the preset.'),
  optimizer_grad_clip_norm: amount(1).describe('Longest gradient of the preset; 0: no limit.'),
  scheduler_warmup_steps: steps(1000).describe('Warm-up of the preset, steps.'),
  scheduler_decay_steps: count(30_000).describe(
    'Length of the cosine of the preset, steps; a shorter run shrinks both.',
  ),
  scheduler_decay_lr: amount(2.5e-6).describe('Learning rate of the preset at the end of the cosine.'),
});
export type Pi0FastConfig = z.infer<typeof pi0FastConfigSchema>;

/** Rules between the fields of a π0-FAST configuration. */
export function validatePi0Fast(config: Pi0FastConfig): Problem[] {
  const problems = validateBase(config);
  const refuse = (field: keyof Pi0FastConfig, message: string, related: (keyof Pi0FastConfig)[] = []) =>
    problems.push({
      field: `policy.${field}`,
      found: config[field],
      message,
      related: related.map((name) => `policy.${name}`),
    });
  if (config.n_obs_steps !== 1)
    refuse('n_obs_steps', 'expected 1: pi0_fast sees the current observation only');
  if (config.n_action_steps > config.chunk_size) {
    refuse('n_action_steps', `expected at most policy.chunk_size (${config.chunk_size})`, ['chunk_size']);
  }
  const { paligemma_variant: variant, image_resolution: resolution } = config;
  const { patch } = VARIANT_SIZES[variant].vision;
  if (isPublished(variant)) {
    if (resolution.some((side) => side !== 224)) {
      refuse(
        'image_resolution',
        `expected 224,224: the vision tower of ${variant} has positions for it only`,
        ['paligemma_variant'],
      );
    }
  } else if (resolution.some((side) => side % patch !== 0)) {
    refuse('image_resolution', `expected multiples of ${patch}, the side of a patch`);
  }
  return problems;
}

function isPublished(variant: Pi0FastConfig['paligemma_variant']): boolean {
  return variant === 'gemma_2b' || variant === 'gemma_300m';
}

/** AdamW with openpi's settings. */
export function pi0FastOptimizerPreset(config: Pi0FastConfig): OptimizerConfig {
  return {
    type: 'adamw',
    lr: config.optimizer_lr,
    betas: config.optimizer_betas,
    eps: config.optimizer_eps,
    weight_decay: config.optimizer_weight_decay,
    grad_clip_norm: config.optimizer_grad_clip_norm,
  };
}

/** Warm-up, then cosine decay; both are scaled down for a shorter run. */
export function pi0FastSchedulerPreset(config: Pi0FastConfig): SchedulerConfig | null {
  return {
    type: 'cosine_decay_with_warmup',
    num_warmup_steps: config.scheduler_warmup_steps,
    num_decay_steps: config.scheduler_decay_steps,
    peak_lr: config.optimizer_lr,
    decay_lr: config.scheduler_decay_lr,
  };
}

/** The frames a sample needs, relative to its own: the current observation and the chunk of actions that starts there. */
export function pi0FastDeltaIndices(config: Pi0FastConfig): {
  observation: null;
  action: number[];
  reward: null;
} {
  return {
    observation: null,
    action: Array.from({ length: config.chunk_size }, (_, step) => step),
    reward: null,
  };
}
