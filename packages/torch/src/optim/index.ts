export * from './adamw.js';
export * from './clip.js';
export * from './flat-parameters.js';
export type { FlatGradient } from './optimizer.js';
export * from './schedules.js';
export * from './sgd.js';
export { CHUNK, sumOverChunks, sweep } from './sweep.js';
