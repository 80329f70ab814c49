export { type Demonstration, type DemonstrationOptions, demonstrate } from './demonstrate.js';
export { type CameraOptions, RayCamera } from './engine/camera.js';
export {
  InverseKinematics,
  type InverseKinematicsOptions,
  type SitePose,
} from './engine/inverse-kinematics.js';
export { Simulation } from './engine/simulation.js';
export type {
  Environment,
  EnvironmentFeature,
  EnvironmentInfo,
  Expert,
  ExpertOptions,
  ImageSize,
  Observation,
  StepOptions,
  StepResult,
} from './environment.js';
export {
  type EvaluateOptions,
  type Evaluation,
  type EvaluationProgress,
  type EvaluationSummary,
  evaluatePolicy,
  type TaskEvaluation,
} from './evaluate/evaluate-policy.js';
export { checkPolicyFits, specForPolicy } from './evaluate/match-policy.js';
export type { VideoOptions } from './evaluate/rollout.js';
export { type Actor, type EpisodeResult, observationBatch, rollout } from './evaluate/rollout.js';
export { type EnvironmentSpec, makeEnvironment } from './make-environment.js';
export * from './names.js';
export {
  type RecordOptions,
  type RecordProgress,
  type RecordResult,
  recordDataset,
} from './record-dataset.js';
export { ARM_FEATURE_NAMES, ARM_JOINTS } from './tabletop/arm.js';
export { TabletopEnvironment, type TabletopOptions } from './tabletop/environment.js';
export { TABLETOP_XML } from './tabletop/scene.js';
export { TASKS, type TaskDefinition } from './tabletop/tasks.js';
export { ENVIRONMENT_STATE_NAMES } from './tabletop/view.js';
export { VectorEnvironment, type VectorEnvironmentOptions } from './vector-environment.js';
export { datasetSource } from './view/dataset-source.js';
export { expertSource, type PolicySourceOptions, policySource } from './view/episode-sources.js';
export { serveView, type ViewOptions, type ViewServer } from './view/serve.js';
export type { EpisodeRequest, Picture, ViewEpisode, ViewFrame, ViewSource } from './view/view-episode.js';
export type { EnvironmentDescription } from './workers/host.js';
