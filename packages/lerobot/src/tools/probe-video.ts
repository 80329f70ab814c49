import { loadFFmpeg } from '../video/ffmpeg.js';
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
