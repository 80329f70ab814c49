export { DiskFrameCache } from './disk-frame-cache.js';
export { VideoEncoder, type VideoEncoderOptions } from './encoder.js';
export type { FileStamp } from './errors.js';
export { type CachedVideo, type FrameCache, MemoryFrameCache, type VideoDescription } from './frame-cache.js';
export { decodeImage } from './image.js';
export { type Frames, VideoPool, type VideoPoolOptions } from './pool.js';
export { type FramesOptions, VideoReader, type VideoReaderOptions } from './reader.js';
export { DEFAULT_TOLERANCE_S } from './timestamps.js';
