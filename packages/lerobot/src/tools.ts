// Entry point `@craft-ft/lerobot/tools`: checking, converting and editing datasets.
export * from './tools/index.js';
