/**
 * @packageDocumentation
 * Configuration schemas only: importing this loads no libtorch, so that help and mistakes on a command line answer at once.
 */
export * from './config/index.js';
