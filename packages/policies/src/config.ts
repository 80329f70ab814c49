/**
 * @packageDocumentation
 * Configuration schemas only: importing this loads no libtorch, so that help and mistakes on a command line answer at once.
 */
export * from './act/configuration.js';
export * from './config/check.js';
export * from './config/fields.js';
export * from './config/optim.js';
export * from './config/policy-fields.js';
export * from './images/transform-config.js';
export * from './load-config.js';
export { peftConfigSchema, peftForLeRobot, validatePeft } from './lora/config.js';
export * from './pi0_fast/configuration.js';
export * from './registry.js';
