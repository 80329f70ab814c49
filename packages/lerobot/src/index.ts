export * from './configs/index.js';
export * from './datasets/index.js';
export * from './policies/act/configuration.js';
export * from './policies/load-config.js';
export * from './policies/registry.js';
