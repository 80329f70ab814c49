export type { VideoEncoding } from '../video/encoder.js';
export type { Batch, BatchColumn } from './batch.js';
export { type Column, readColumns } from './columns.js';
export { computeStats } from './compute-stats.js';
export {
  type DatasetFeature,
  type Item,
  LeRobotDataset,
  type LeRobotDatasetOptions,
} from './dataset.js';
export { type ColumnArray, type ColumnDType, columnDType } from './dtypes.js';
export type { FrameValue, RgbImage } from './episode-buffer.js';
export { type FeatureRow, featureTable, formatFeatureTable } from './feature-table.js';
export { GroupSampler, type SamplerGroup } from './group-sampler.js';
export {
  type AbsoluteIndex,
  absoluteIndex,
  type EpisodeSpan,
  type SubsetIndex,
  subsetIndex,
} from './indices.js';
export {
  bookkeepingKeys,
  type DatasetInfo,
  type FeatureInfo,
  type FeatureSource,
  imageShape,
  isBookkeeping,
} from './info.js';
export { type EpisodeRecord, LeRobotDatasetMetadata, type VideoSegment } from './metadata.js';
export { type MixtureMember, MultiDataset } from './mixture.js';
export { MixtureSampler, type MixtureSamplerOptions, memberSeed } from './mixture-sampler.js';
export { shuffle, Xoshiro128 } from './random.js';
export type { RenameMap } from './rename.js';
export {
  EpisodeAwareSampler,
  type EpisodeAwareSamplerOptions,
  FrameSampler,
  RandomSampler,
  type SamplerOptions,
} from './samplers.js';
export {
  aggregateStats,
  type DatasetStats,
  type FeatureStats,
  type QuantileName,
  quantileNames,
} from './stats.js';
export { StreamingDataset, type StreamingDatasetOptions } from './streaming.js';
export { deltaOffsets } from './windows.js';
export { type Frame, LeRobotDatasetWriter, type LeRobotDatasetWriterOptions } from './writer.js';
