export { type DownloadDatasetOptions, downloadDataset } from './dataset.js';
export {
  datasetCacheFolder,
  hfHome,
  hubEndpoint,
  hubOffline,
  hubToken,
  policyCacheFolder,
  tokenizerCacheFolder,
} from './environment.js';
export type { DownloadProgress } from './fetch-files.js';
export type { RetryOptions } from './http.js';
export type { DownloadModelOptions } from './model-files.js';
export type { DatasetParts } from './needed-files.js';
export { type DownloadPolicyOptions, downloadPolicy } from './policy.js';
export { type PushOptions, type PushProgress, type PushResult, pushFolder } from './push.js';
export { downloadedCommit } from './record.js';
export { looksLikeRepoId } from './repo-id.js';
export type { HubOptions } from './session.js';
export { downloadTokenizer } from './tokenizer.js';
