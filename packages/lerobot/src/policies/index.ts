export * from './act/configuration.js';
export { type ActFeatures, actFeatures } from './act/features.js';
export { klDivergence, type Posterior, sampleLatent } from './act/latent.js';
export { maskedL1 } from './act/loss.js';
export { ActModel, type ActOutput } from './act/model.js';
export { ActPolicy } from './act/policy.js';
export { ResNetBackbone } from './act/resnet.js';
export { TemporalEnsemble } from './act/temporal-ensemble.js';
export { type MakePolicyOptions, makePolicy } from './factory.js';
export {
  datasetPolicyFeatures,
  type FeatureSource,
  type FeatureSources,
  withDatasetFeatures,
} from './features.js';
export * from './load-config.js';
export { Policy, type PolicyOutput } from './policy.js';
export { loadPolicy, savePolicy } from './pretrained.js';
export * from './registry.js';
