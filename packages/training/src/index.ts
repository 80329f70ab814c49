export { BaselineStrategy } from './baseline.js';
export { checkpointStep, saveCheckpoint, stepFolder } from './checkpoint.js';
export * from './config.js';
export { CameraBatches, cameraSizes, DataStream, type TrainingData, toTensors } from './data-stream.js';
export { evaluateLoss, type LossEvaluation } from './evaluate-loss.js';
export {
  accumulate,
  type LazyBatch,
  type LossNumbers,
  lossAndGradient,
  MicroBatches,
  meanNumbers,
  requireFinite,
} from './gradient.js';
export {
  type TrainEvaluation,
  type TrainingRun,
  type TrainObserver,
  type TrainResult,
  train,
} from './loop.js';
export type { StepReport, StrategyContext, UpdateStrategy } from './method.js';
export { formatRecord, MetricsLog, type MetricsRecord, SUCCESS } from './metrics-log.js';
export {
  type DatasetChoice,
  datasetFolder,
  fetchDataset,
  openPolicyDataset,
  type PolicyDataset,
  renamedFeatures,
} from './open-data.js';
export { type AppliedStep, makeSchedule, Optimization } from './optimization.js';
export { type DataSummary, type PolicySummary, type PrepareOptions, prepareTraining } from './prepare.js';
