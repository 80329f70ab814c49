export * from './attention.js';
export * as functional from './functional.js';
export * as init from './init.js';
export * from './layers.js';
export * from './linear.js';
export { type LoadCheckpointOptions, loadCheckpoint, loadTensors } from './load-checkpoint.js';
export {
  type LoadReport,
  Module,
  ModuleList,
  Sequential,
  type StateDict,
  type TensorModule,
} from './module.js';
export * from './normalization.js';
export * from './parameter.js';
