export * from './configs/index.js';
export * from './datasets/index.js';
export * from './policies/index.js';
export * from './processors/index.js';
export * from './training/index.js';
