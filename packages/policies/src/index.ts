export * from './act/configuration.js';
export { ActPolicy } from './act/policy.js';
export * from './config/check.js';
export * from './config/fields.js';
export * from './config/optim.js';
export type {
  NormalizationMapping,
  NormalizationMode,
  PolicyFeature,
  PolicyFeatures,
} from './config/policy-fields.js';
export {
  datasetPolicyFeatures,
  type FeatureSources,
  withActionNames,
  withDatasetFeatures,
} from './dataset-features.js';
export { type McqQuestion, readMcqQuestions } from './evaluation/mcq-questions.js';
export {
  compareAnswers,
  judge,
  type McqAnswer,
  type McqComparison,
  type McqRule,
  type McqSummary,
  type Share,
  summarise,
} from './evaluation/mcq-results.js';
export { MCQ_PROMPT, scoreQuestion } from './evaluation/mcq-scorer.js';
export { wilsonInterval } from './evaluation/wilson.js';
export { resize, resizeWithPad, toFloat } from './images/image.js';
export { ImageTransforms } from './images/image-transforms.js';
export * from './images/transform-config.js';
export { type AttachedLora, attachedLora, attachLora, mergeLora } from './lora/attach.js';
export { loraSettings, type PeftConfig, peftConfigSchema } from './lora/config.js';
export { fetchBase } from './lora/files.js';
export { LossMean, type LossMeanState } from './loss-mean.js';
export { ActionTokens } from './pi0_fast/action-tokens.js';
export * from './pi0_fast/configuration.js';
export { type ChunkOptions, type ChunkSet, datasetChunks } from './pi0_fast/fast/dataset-chunks.js';
export { FastTokenizer } from './pi0_fast/fast/tokenizer.js';
export { type CompressionStats, compressionStats, unencodable } from './pi0_fast/fast/training.js';
export { Pi0FastPolicy } from './pi0_fast/policy.js';
export { type HiddenStates, inEvaluationMode, type LossPart, Policy, type PolicyOutput } from './policy.js';
export { loadProcessors, makeProcessors, resolveDevice } from './policy-processors.js';
export { loadPolicy, type MakePolicyOptions, makePolicy, savePolicy } from './pretrained.js';
export { MODE_STATS } from './processors/normalizer.js';
export { PolicyProcessors, ProcessorPipeline } from './processors/pipeline.js';
export { type RelativeActions, relativeMask } from './processors/relative-actions.js';
export { imagenetStats, type StatTensors, statTensors } from './processors/stats.js';
export type { ProcessorStep, TensorBatch, Texts } from './processors/step.js';
export type { DeltaIndices, PolicyRegistration } from './registration.js';
export * from './registry.js';
export { fetchTokenizer, tokenizerFolder } from './tokenizers/locate.js';
export { TextTokenizer } from './tokenizers/text-tokenizer.js';
