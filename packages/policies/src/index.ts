export * from './act/configuration.js';
export { type ActFeatures, actFeatures } from './act/features.js';
export { klDivergence, type Posterior, sampleLatent } from './act/latent.js';
export { maskedL1 } from './act/loss.js';
export { ActModel, type ActOutput } from './act/model.js';
export { ActPolicy } from './act/policy.js';
export { ResNetBackbone } from './act/resnet.js';
export { TemporalEnsemble } from './act/temporal-ensemble.js';
export * from './config/index.js';
export * from './evaluation/index.js';
export { inEvaluationMode } from './evaluation-mode.js';
export { type MakePolicyOptions, makePolicy } from './factory.js';
export {
  datasetPolicyFeatures,
  type FeatureSources,
  withDatasetFeatures,
} from './features.js';
export type { HiddenStates } from './hidden-states.js';
export * from './images/index.js';
export * from './load-config.js';
export * from './lora/index.js';
export { LossMean, type LossMeanState } from './loss-mean.js';
export * from './pi0_fast/configuration.js';
export { type DecodingOptions, decodeTokens } from './pi0_fast/decoding.js';
export { type Encoded, Pi0FastModel, type Prefix, type Tokens } from './pi0_fast/model.js';
export { type ActionDetokenizer, Pi0FastPolicy } from './pi0_fast/policy.js';
export {
  type GemmaSizes,
  imageTokens,
  PALIGEMMA_VARIANTS,
  type PaligemmaVariant,
  type Pi0FastSizes,
  type SiglipSizes,
  VARIANT_SIZES,
} from './pi0_fast/sizes.js';
export { type LossPart, Policy, type PolicyOutput } from './policy.js';
export { loadPolicy, savePolicy } from './pretrained.js';
export * from './processors/index.js';
export * from './registry.js';
export * from './tokenizers/index.js';
