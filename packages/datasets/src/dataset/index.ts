export type { Batch, BatchColumn } from './batch.js';
export { type Column, readColumns } from './columns.js';
export {
  type Item,
  LeRobotDataset,
  type LeRobotDatasetOptions,
} from './dataset.js';
export {
  type DatasetFeature,
  type DatasetInfo,
  type FeatureInfo,
  type FeatureRow,
  type FeatureSource,
  featureTable,
  formatFeatureTable,
  imageShape,
  isBookkeeping,
  type RenameMap,
} from './dataset-info.js';
export type { ColumnArray, ColumnDType } from './dtypes.js';
export {
  type AbsoluteIndex,
  absoluteIndex,
  type EpisodeSpan,
  type SubsetIndex,
  subsetIndex,
} from './indices.js';
export { LeRobotDatasetMetadata } from './metadata.js';
export type { EpisodeRecord, VideoSegment } from './metadata-formats.js';
export {
  type MixtureMember,
  MixtureSampler,
  type MixtureSamplerOptions,
  MultiDataset,
  memberSeed,
} from './mixture.js';
export { shuffle, Xoshiro128 } from './random.js';
export {
  EpisodeAwareSampler,
  type EpisodeAwareSamplerOptions,
  FrameSampler,
  GroupSampler,
  RandomSampler,
  type SamplerGroup,
  type SamplerOptions,
} from './samplers.js';
export {
  computeStats,
  type DatasetStats,
  type FeatureStats,
  type QuantileName,
} from './stats.js';
export { StreamingDataset, type StreamingDatasetOptions } from './streaming.js';
