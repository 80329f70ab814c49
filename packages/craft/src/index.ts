/**
 * @packageDocumentation
 * Constrained Retention Fine-Tuning: learn a new task while the loss on the old one stays below ε.
 */
export * from './anchors/index.js';
export * from './config.js';
export * from './dual-state.js';
export { DEFAULT_FEATURES, extractFeatures, type FeatureSpec } from './features.js';
export { computeHiddenRetentionLoss, type HiddenLossType } from './hidden-loss.js';
export * from './lambda-history.js';
export * from './pid.js';
export { type Pooling, type PoolingOptions, poolHiddenStates } from './pool-hidden.js';
export * from './primal-dual.js';
export { type CraftReport, craftReport, reportLines } from './report.js';
export { ActionTerm } from './retention/actions.js';
export { type FeatureComparison, FeatureTerm } from './retention/features.js';
export { anchorNeeds, makeObjective } from './retention/make-objective.js';
export { RetentionObjective, type WeightedTerm } from './retention/objective.js';
export { PolicyLossTerm, TokenTerm } from './retention/policy-loss.js';
export { StartingWeights } from './retention/starting-weights.js';
export type { RetentionTarget, RetentionTerm } from './retention/term.js';
export { computeRetentionLoss, type LossOutput, type LossPolicy, type Reduction } from './retention-loss.js';
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
