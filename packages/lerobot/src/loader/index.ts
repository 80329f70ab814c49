export { FrameLoader, type FrameLoaderOptions, type LoadedFrames } from './frame-loader.js';
