/**
 * @packageDocumentation
 * Configuration schemas only: importing this loads no libtorch, so that help and mistakes on a command line answer at once.
 */
export * from './configs/index.js';
export * from './policies/act/configuration.js';
export * from './policies/load-config.js';
export * from './policies/registry.js';
