// Entry point `@craft-ft/cli/report`: pages of numbers, curves, success rates and videos.
export * from './report/index.js';
