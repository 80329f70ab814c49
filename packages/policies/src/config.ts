/**
 * @packageDocumentation
 * Configuration schemas only: importing this loads no libtorch, so that help and mistakes on a command line answer at once.
 */
export * from './act/configuration.js';
export * from './config/index.js';
export * from './load-config.js';
export { peftConfigSchema, peftForLeRobot, validatePeft } from './lora/config.js';
export * from './pi0_fast/configuration.js';
export * from './registry.js';
