// Entry point `@craft-ft/datasets/tools`: checking, converting and editing datasets.
export * from './tools/index.js';
