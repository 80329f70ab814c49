export {
  accumulate,
  BaselineStrategy,
  type LossNumbers,
  lossAndGradient,
  meanNumbers,
  requireFinite,
} from './baseline.js';
export { CameraBatches, cameraSizes } from './camera-batches.js';
export { checkpointStep, saveCheckpoint, stepFolder } from './checkpoint.js';
export * from './config/index.js';
export { DataStream, type TrainingData, toTensors } from './data-stream.js';
export { evaluateLoss, type LossEvaluation } from './evaluate-loss.js';
export {
  type TrainEvaluation,
  type TrainingRun,
  type TrainObserver,
  type TrainResult,
  train,
} from './loop.js';
export { formatRecord, MetricsLog, type MetricsRecord, SUCCESS } from './metrics-log.js';
export { type LazyBatch, MicroBatches } from './micro-batches.js';
export {
  type DatasetChoice,
  datasetFolder,
  fetchDataset,
  openPolicyDataset,
  type PolicyDataset,
  renamedFeatures,
} from './open-data.js';
export { type AppliedStep, makeSchedule, Optimization } from './optimization.js';
export { type PrepareOptions, prepareTraining, type StrategyContext } from './prepare.js';
export { checkResume, RESUME_RULES, type ResumeRules } from './resume.js';
export type { StepReport, UpdateStrategy } from './strategy.js';
