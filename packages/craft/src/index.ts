/**
 * @packageDocumentation
 * Constrained Retention Fine-Tuning: learn a new task while the loss on the old one stays below ε.
 */
export * from './coefficients.js';
export * from './config.js';
export * from './dual-state.js';
export * from './flat-surgery.js';
export * from './grad-surgery.js';
export { computeHiddenRetentionLoss, type HiddenLossType } from './hidden-loss.js';
export { type Grads, innerProducts } from './inner-products.js';
export * from './lambda-history.js';
export { type Pooling, type PoolingOptions, poolHiddenStates } from './pool-hidden.js';
export * from './primal-dual.js';
export { computeRetentionLoss, type LossOutput, type LossPolicy, type Reduction } from './retention-loss.js';
export { type CraftParts, CraftStrategy } from './strategy.js';
