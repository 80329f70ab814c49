import { z } from 'zod';
import type { Problem } from './check.js';

/** The role of a feature for a policy, by LeRobot's names. */
export const featureTypeSchema = z.enum(['STATE', 'VISUAL', 'ENV', 'ACTION', 'REWARD', 'LANGUAGE']);
export type FeatureType = z.infer<typeof featureTypeSchema>;

/** How a feature is normalised before the policy sees it. QUANTILES uses q01 and q99, QUANTILE10 q10 and q90. */
export const normalizationModeSchema = z.enum(['MEAN_STD', 'MIN_MAX', 'QUANTILES', 'QUANTILE10', 'IDENTITY']);
export type NormalizationMode = z.infer<typeof normalizationModeSchema>;

/** Type and shape of one input or output of a policy; images are [channels, height, width]. */
export const policyFeatureSchema = z.strictObject({
  type: featureTypeSchema,
  shape: z.array(z.int().min(1)),
});
export type PolicyFeature = z.infer<typeof policyFeatureSchema>;

/** Features by name, such as `observation.state`, `observation.images.top`, `action`. */
export type PolicyFeatures = Record<string, PolicyFeature>;
export type NormalizationMapping = Partial<Record<FeatureType, NormalizationMode>>;

// Newer versions of LeRobot write null where a policy has none yet.
const features = z
  .preprocess((value) => (value === null ? {} : value), z.record(z.string(), policyFeatureSchema))
  .default({});

const hubText = (description: string) => z.string().nullable().default(null).describe(description);

/**
 * Fields that every policy's `config.json` has, as LeRobot's `PreTrainedConfig`.
 *
 * Defaults are LeRobot's, except that `push_to_hub` is off: nothing leaves the machine unless the user asks for it.
 */
export const basePolicyFields = {
  n_obs_steps: z
    .int()
    .min(1)
    .default(1)
    .describe('Observation steps that the policy sees: the current one and those before it.'),
  input_features: features.meta({
    description:
      'Inputs by name, e.g. {"observation.state": {"type": "STATE", "shape": [6]}}. Images are [channels, height, width]. ' +
      'Empty: taken from the dataset.',
    typeText: '{name: {type, shape}}',
  }),
  output_features: features.meta({
    description: 'Outputs by name, as input_features. Empty: taken from the dataset.',
    typeText: '{name: {type, shape}}',
  }),
  device: z
    .string()
    .regex(/^(auto|cpu|mps|cuda(:\d+)?)$/)
    .nullable()
    .default(null)
    .meta({
      description:
        'Where the policy is trained. null or auto: the first CUDA device if there is one, else the CPU.',
      typeText: 'cpu|cuda|cuda:N|mps|auto or null',
    }),
  use_amp: z.boolean().default(false).describe('Automatic mixed precision. Only false for now.'),
  use_peft: z.boolean().default(false).describe('Whether the checkpoint is a LoRA adapter; set by --peft.*.'),
  push_to_hub: z.boolean().default(false).describe('Upload the policy after training. Only false for now.'),
  repo_id: hubText('Name of the policy on the Hugging Face Hub; kept for the checkpoint.'),
  private: z
    .boolean()
    .nullable()
    .default(null)
    .describe('Whether that repository is private; kept for the checkpoint.'),
  tags: z
    .array(z.string())
    .nullable()
    .default(null)
    .describe("Tags of the policy's card; kept for the checkpoint."),
  license: hubText("Licence of the policy's card; kept for the checkpoint."),
  pretrained_path: hubText('Folder that the weights were loaded from; set by --policy.path.'),
  pretrained_revision: hubText('Revision of that checkpoint. Only null for now.'),
};

/** A normalisation mode for each feature type; `defaults` are the policy's own. */
export const normalizationMapping = <D extends Record<string, 'MEAN_STD' | 'QUANTILES' | 'IDENTITY'>>(
  defaults: D,
) =>
  z
    .partialRecord(featureTypeSchema, normalizationModeSchema)
    .default(defaults)
    .describe(
      'Normalisation per type of feature. VISUAL, STATE and ACTION must be listed; a type that is not (ENV) is left as it ' +
        'is. MEAN_STD: (x - mean) / std; MIN_MAX and QUANTILES: to [-1, 1].',
    );

/** The fields of every policy's configuration that describe its inputs, its outputs and their normalisation. */
export interface PolicyFeatureFields {
  input_features: PolicyFeatures;
  output_features: PolicyFeatures;
  normalization_mapping: NormalizationMapping;
}

/** Rules that hold for every policy. */
export function validateBase(config: PolicyFeatureFields): Problem[] {
  const problems: Problem[] = [];
  const missing = ['VISUAL', 'STATE', 'ACTION'].filter(
    (type) => config.normalization_mapping[type as FeatureType] === undefined,
  );
  if (missing.length > 0) {
    problems.push({
      field: 'policy.normalization_mapping',
      found: config.normalization_mapping,
      message: `expected a mode for ${missing.join(', ')} too (IDENTITY to leave it as it is)`,
    });
  }
  const outputs = Object.values(config.output_features);
  if (outputs.length > 0 && !outputs.some(({ type }) => type === 'ACTION')) {
    problems.push({
      field: 'policy.output_features',
      found: config.output_features,
      message: 'expected a feature of type ACTION',
    });
  }
  return problems;
}
