export * from './adamw.js';
export * from './clip.js';
export * from './flat-parameters.js';
export * from './gram.js';
export { type KernelLevel, type Kernels, kernels, useKernels } from './kernels.js';
export type { Coefficient, CombinedGradient, FlatGradient } from './optimizer.js';
export * from './schedules.js';
export * from './sgd.js';
export { CHUNK, sumOverChunks, sweep } from './sweep.js';
