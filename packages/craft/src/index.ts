/**
 * @packageDocumentation
 * Constrained Retention Fine-Tuning: learn a new task while the loss on the old one stays below ε.
 */
export * from './anchors/index.js';
export { type AnchorFields, anchorsOfRun, sharedRecordings } from './anchors/of-run.js';
export * from './config.js';
export { type DualSettings, DualState, dualSettings } from './dual-state.js';
export {
  DEFAULT_FEATURES,
  extractFeatures,
  type FeatureSpec,
  type Pooling,
  type PoolingOptions,
  poolHiddenStates,
} from './features.js';
export * from './primal-dual.js';
export { type CraftReport, formatHistory, parseHistory, type RetentionRecord } from './record.js';
export { type ReplayParts, ReplayStrategy } from './replay.js';
export {
  computeHiddenRetentionLoss,
  computeRetentionLoss,
  type HiddenLossType,
  type LossPolicy,
  type Reduction,
} from './retention/losses.js';
export { anchorNeeds, makeObjective, RetentionObjective, StartingWeights } from './retention/objective.js';
export type { RetentionTarget, RetentionTerm } from './retention/terms.js';
export { type CraftParts, CraftStrategy } from './strategy.js';
export {
  computeDot,
  GradientPair,
  type Grads,
  mergeGrads,
  type Projection,
  projectIfConflict,
} from './surgery/grad-surgery.js';
export {
  type Combination,
  combine,
  cosine,
  type GroupedCombination,
  type Products,
  type SurgerySettings,
} from './surgery/surgery.js';
