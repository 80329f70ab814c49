export type { CameraDataset } from './camera-source.js';
export { FrameLoader, type FrameLoaderOptions, type LoadedFrames } from './frame-loader.js';
