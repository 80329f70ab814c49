export * from './dataset/index.js';
export { type DownloadDatasetOptions, downloadDataset } from './hub/download-dataset.js';
export {
  type DownloadModelOptions,
  type DownloadPolicyOptions,
  downloadPolicy,
  downloadTokenizer,
} from './hub/download-model.js';
export {
  datasetCacheFolder,
  looksLikeRepoId,
  policyCacheFolder,
  tokenizerCacheFolder,
} from './hub/environment.js';
export type { DownloadProgress } from './hub/fetch-files.js';
export type { RetryOptions } from './hub/http.js';
export { type PushOptions, type PushProgress, type PushResult, pushFolder } from './hub/push.js';
export { downloadedCommit } from './hub/record.js';
export type { HubOptions } from './hub/session.js';
export * from './json.js';
export type { CameraDataset } from './loader/camera-source.js';
export { FrameLoader, type FrameLoaderOptions, type LoadedFrames } from './loader/frame-loader.js';
export type { VideoEncoding } from './video/encoder.js';
export { VideoEncoder, type VideoEncoderOptions } from './video/encoder.js';
export { decodeImage, type Frames } from './video/image.js';
export { type FramesOptions, VideoReader, type VideoReaderOptions } from './video/reader.js';
export type { FrameValue, RgbImage } from './writer/episode-buffer.js';
export { type Frame, LeRobotDatasetWriter, type LeRobotDatasetWriterOptions } from './writer/writer.js';
