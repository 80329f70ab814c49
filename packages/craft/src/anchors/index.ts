export { type BuildAnchorOptions, buildAnchorCache } from './build.js';
export type { TokenSource } from './build-samples.js';
export {
  AnchorCacheDataset,
  type AnchorCacheInfo,
  anchorCacheInfo,
  fileHash,
  type StoredSamples,
} from './cache.js';
export { type AnchorKind, type AnchorSelection, anchorKindSchema, anchorSelectionSchema } from './config.js';
export { type AnchorLoader, type AnchorLoaderOptions, createAnchorDataLoader } from './loader.js';
export {
  ANCHOR_CACHE_VERSION,
  type AnchorCacheMetadata,
  anchorCacheMetadataSchema,
  readAnchorMetadata,
} from './metadata.js';
export type { AnchorNeeds } from './needs.js';
export { processorHashes } from './processor-hash.js';
export type { Drawing, RowSelection } from './rows.js';
export { type AnchorDataset, type AnchorReading, anchorChoice } from './source.js';
export { type AnchorCacheDescription, AnchorCacheWriter } from './writer.js';
