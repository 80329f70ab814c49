export { DeviceStep } from './device.js';
export { makeProcessors, type ProcessorConfig, resolveDevice } from './factory.js';
export { isLegacyStat, legacyStats } from './legacy.js';
export { loadPipeline, loadProcessors, POSTPROCESSOR_FILE, PREPROCESSOR_FILE } from './load.js';
export { type NormalizerOptions, NormalizerStep, UnnormalizerStep } from './normalizer.js';
export { PolicyProcessors, ProcessorPipeline } from './pipeline.js';
export { type PromptOptions, PromptStep, stateBin, statePrompt } from './prompt.js';
export {
  AbsoluteActionsStep,
  type RelativeActionsOptions,
  RelativeActionsStep,
  relativeMask,
} from './relative-actions.js';
export { RenameStep } from './rename.js';
export { savePipeline, saveProcessors } from './save.js';
export { loadStatTensors, type StatTensors, statTensors } from './stats.js';
export type { ProcessorStep, TensorBatch, Texts } from './step.js';
export type { ProcessorOverrides } from './step-registry.js';
export { embedTask, TASK_EMBEDDING, TaskEmbeddingStep } from './task-embedding.js';
export { ToBatchStep } from './to-batch.js';
export {
  ACTION_TOKEN_MASK,
  ACTION_TOKENS,
  type TokenizeActionsOptions,
  TokenizeActionsStep,
} from './tokenize-actions.js';
export {
  LANGUAGE_MASK,
  LANGUAGE_TOKENS,
  type TokenizeTextOptions,
  TokenizeTextStep,
} from './tokenize-text.js';
export { FeatureTransform, MODE_STATS, type ScalingMode } from './transform.js';
