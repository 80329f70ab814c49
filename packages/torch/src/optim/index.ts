export * from './adamw.js';
export * from './flat-parameters.js';
export * from './gram.js';
export { type KernelLevel, type Kernels, kernels, useKernels } from './kernels.js';
export type { Coefficient, CombinedGradient, FlatGradient } from './optimizer.js';
export {
  type CosineDecayWithWarmupOptions,
  constantSchedule,
  cosineDecayWithWarmup,
  linearSchedule,
  type Schedule,
  withWarmup,
} from './schedules.js';
export * from './sgd.js';
export { CHUNK, sweep } from './sweep.js';
