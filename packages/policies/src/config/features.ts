import { z } from 'zod';

/** What a feature is to a policy, in LeRobot's words. */
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
