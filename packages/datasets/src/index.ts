export * from './dataset/index.js';
export * from './hub/index.js';
export * from './json.js';
export * from './loader/index.js';
export * from './video/index.js';
