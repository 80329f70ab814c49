export * from './check.js';
export * from './features.js';
export * from './fields.js';
export * from './image-transforms.js';
export * from './nearest.js';
export * from './optim.js';
export * from './problem.js';
