import { CraftError } from '@craft-ft/torch';
import { loadFFmpeg } from '../video/ffmpeg.js';
import { VideoReader } from '../video/index.js';
import { openVideo } from './video-copy.js';

/** What a check needs to know of a video file. */
export interface ProbedVideo {
  readonly frames: number;
  /** Average frames per second. */
  readonly fps: number;
  readonly width: number;
  readonly height: number;
  /** FFmpeg's name: `av1`, `h264`, `hevc`. */
  readonly codec: string;
  /** Every frame's time, seconds, ascending. */
  readonly timestamps: ArrayLike<number>;
}

export type VideoProbe = (path: string) => Promise<ProbedVideo>;

/**
 * Reads the header and every packet of a video, decoding none.
 *
 * @throws CraftError `VIDEO_MISSING`, `VIDEO_INVALID`, `VIDEO_LIBRARY`.
 */
export async function probeVideo(path: string): Promise<ProbedVideo> {
  const ffmpeg = await loadFFmpeg();
  const video = openVideo(path, ffmpeg);
  try {
    const { codecParameters: parameters, fps, index } = video;
    const { timestamps, frames } = index;
    const span = timestamps[frames - 1]! - timestamps[0]!;
    return {
      frames,
      fps: span > 0 ? (frames - 1) / span : fps,
      width: parameters.width,
      height: parameters.height,
      codec: ffmpeg.av.avGetCodecName(parameters.codecId) ?? 'unknown',
      timestamps,
    };
  } finally {
    video.close();
  }
}

/** Frames decoded at a time: 16 of 480×640 are 15 MB. */
const CHUNK = 16;

/**
 * As {@link probeVideo}, decoding every frame, which takes about as long as an epoch of training reads: for damage inside a
 * frame.
 *
 * @throws CraftError as {@link probeVideo}; `VIDEO_INVALID` for a frame that cannot be decoded.
 */
export async function decodeVideo(path: string): Promise<ProbedVideo> {
  const probed = await probeVideo(path);
  using video = await VideoReader.open(path, { threads: 2 });
  const into = new Uint8Array(CHUNK * video.frameBytes);
  for (let first = 0; first < video.frames; first += CHUNK) {
    const length = Math.min(CHUNK, video.frames - first);
    const frames = Array.from({ length }, (_, i) => first + i);
    try {
      video.framesByNumber(frames, { into });
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      const where = `${path}: among frames ${first} to ${first + length - 1}`;
      throw new CraftError(error.code, `${where}: ${error.message.replace(`${path}: `, '')}`, {
        cause: error,
      });
    }
  }
  return probed;
}
