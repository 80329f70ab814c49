export * from './dataset/index.js';
export * from './hub/index.js';
export * from './json.js';
export * from './loader/index.js';
export type { VideoEncoding } from './video/encoder.js';
export * from './video/index.js';
export type { FrameValue, RgbImage } from './writer/episode-buffer.js';
export { type Frame, LeRobotDatasetWriter, type LeRobotDatasetWriterOptions } from './writer/writer.js';
