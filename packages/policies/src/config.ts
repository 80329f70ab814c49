/**
 * @packageDocumentation
 * Configuration and the registry, without datasets and the Hub client: command-line help and errors appear at once.
 */
export * from './act/configuration.js';
export * from './config/check.js';
export * from './config/fields.js';
export * from './config/optim.js';
export * from './config/policy-fields.js';
export * from './images/transform-config.js';
export { peftConfigSchema, peftForLeRobot, validatePeft } from './lora/config.js';
export * from './pi0_fast/configuration.js';
export * from './registry.js';
