import { CraftError } from '@craft-ft/torch/errors';
import { Decoder } from './decoder.js';
import { Demuxer, type FileStamp, invalidVideo, stampVideo } from './demuxer.js';
import { type FFmpeg, loadFFmpeg, reasonOf } from './ffmpeg.js';
import { RgbConverter } from './image.js';
import { framesNear } from './packet-index.js';

export interface VideoReaderOptions {
  /**
   * Threads of the decoder. The default of 1 is the most economical if several workers read videos; with more, a single reader decodes
   * several frames at a time.
   */
  threads?: number;
}

/** Where frames go. */
export interface FramesOptions {
  /** Largest distance between a time and its frame, seconds. Default 1e-4, as LeRobot's `tolerance_s`. */
  toleranceS?: number;
  /** Receives the frames, at `offset`, instead of a new array; may be backed by a SharedArrayBuffer. */
  into?: Uint8Array;
  /** Byte offset into `into`. Default 0. */
  offset?: number;
}

/**
 * Reads frames of one video file by time: AV1, H.264, HEVC, whatever FFmpeg decodes.
 *
 * The file stays open and the decoder keeps its position: sequential reading decodes one frame per frame, a jump also decodes the frames
 * since the preceding key frame. Calls block their thread, so training makes them in workers.
 *
 * @example
 * ```ts
 * using video = await VideoReader.open('episode_000010.mp4');
 * const rgb = video.framesAt([0, 1.5]); // Uint8Array of 2 × height × width × 3
 * ```
 */
export class VideoReader {
  readonly path: string;
  readonly stamp: FileStamp;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** FFmpeg's name: `av1`, `h264`, `hevc`. */
  readonly codec: string;
  /** Frames per second, averaged over the file. */
  readonly fps: number;
  /** Every frame's time, seconds, ascending. */
  readonly timestamps: Float64Array;
  /** From the first frame's beginning to the last one's end, seconds. */
  readonly duration: number;
  readonly #ffmpeg: FFmpeg;
  readonly #demuxer: Demuxer;
  readonly #decoder: Decoder;
  #closed = false;

  private constructor(path: string, stamp: FileStamp, ffmpeg: FFmpeg, threads: number) {
    this.path = path;
    this.stamp = stamp;
    this.#ffmpeg = ffmpeg;
    this.#demuxer = new Demuxer(path, ffmpeg);
    try {
      this.#decoder = new Decoder(this.#demuxer, ffmpeg, threads);
    } catch (error) {
      this.#demuxer.close();
      throw error;
    }
    const { codecParameters, fps, index } = this.#demuxer;
    this.width = codecParameters.width;
    this.height = codecParameters.height;
    this.codec = ffmpeg.av.avGetCodecName(codecParameters.codecId) ?? 'unknown';
    this.timestamps = index.timestamps;
    const span = this.timestamps.at(-1)! - this.timestamps[0]!;
    this.fps = span > 0 ? (this.frames - 1) / span : fps;
    this.duration = span + (this.fps > 0 ? 1 / this.fps : 0);
  }

  /**
   * Opens a video and finds every frame in it without decoding.
   *
   * @throws CraftError `VIDEO_MISSING`; `VIDEO_INVALID` for an empty, truncated or damaged file, one without a video stream, or a
   * codec without a decoder; `VIDEO_LIBRARY`.
   */
  static async open(path: string, options: VideoReaderOptions = {}): Promise<VideoReader> {
    const stamp = stampVideo(path);
    return new VideoReader(path, stamp, await loadFFmpeg(), options.threads ?? 1);
  }

  /** Number of frames. */
  get frames(): number {
    return this.timestamps.length;
  }

  /** Bytes of one RGB frame. */
  get frameBytes(): number {
    return this.width * this.height * 3;
  }

  /**
   * The frames nearest to `times`.
   *
   * @param times Seconds within the file, in any order, repeats allowed.
   * @returns uint8 [n, height, width, 3], RGB, in the requested order: `into`, or a new array.
   * @throws CraftError `VIDEO_TIMESTAMP` when a frame is further away than the tolerance; `VIDEO_INVALID` when one cannot be
   * decoded.
   */
  framesAt(times: ArrayLike<number>, options: FramesOptions = {}): Uint8Array {
    return this.framesByNumber(framesNear(this, times, options.toleranceS), options);
  }

  /** Like `framesAt`, by frame number (0 … frames − 1, in presentation order). */
  framesByNumber(frames: ArrayLike<number>, options: Omit<FramesOptions, 'toleranceS'> = {}): Uint8Array {
    const { into = new Uint8Array(frames.length * this.frameBytes), offset = 0 } = options;
    if (offset + frames.length * this.frameBytes > into.length) {
      throw new RangeError(
        `${frames.length} frames of ${this.frameBytes} bytes do not fit at ${offset} of ${into.length}`,
      );
    }
    if (this.#closed) throw new CraftError('VIDEO_CLOSED', `${this.path}: the reader is closed`);
    const { index } = this.#demuxer;
    const slots = new Map<number, number[]>();
    for (let i = 0; i < frames.length; i++) {
      const packet = index.packetOf[frames[i]!];
      if (packet === undefined)
        throw new RangeError(`${this.path}: frame ${frames[i]} of ${this.frames} frames`);
      const same = slots.get(packet);
      if (same === undefined) slots.set(packet, [i]);
      else same.push(i);
    }
    const ordered = [...slots.keys()].sort((a, b) => index.pts[a]! - index.pts[b]!);
    this.#decoder.decode(ordered, (packet, frame) => {
      if (frame.width !== this.width || frame.height !== this.height) {
        throw invalidVideo(
          this.path,
          `a frame is ${frame.width}×${frame.height}, not ${this.width}×${this.height}`,
        );
      }
      const [first, ...others] = slots.get(packet)!.map((slot) => offset + slot * this.frameBytes);
      const converter = RgbConverter.for(this.#ffmpeg, this.width, this.height);
      const code = converter.convert(frame, into, first!);
      if (code < 0) throw invalidVideo(this.path, `no conversion to RGB (${reasonOf(this.#ffmpeg, code)})`);
      for (const at of others) into.copyWithin(at, first!, first! + this.frameBytes);
    });
    return into;
  }

  /** Closes the file; the reader can no longer be used. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#decoder.close();
    this.#demuxer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
