import { leaveRealTime } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { CodecContext, Frame, Packet, SoftwareScaleContext } from 'node-av/lib';
import { allocateFrame, type FFmpeg, loadFFmpegSync, reasonOf, yuv420Context } from './ffmpeg.js';
import { Mp4Output, videoWriteError } from './mp4.js';

/** How video is encoded; the defaults are LeRobot's. */
export interface VideoEncoding {
  /** `av1` by SVT-AV1 (default) or `h264` by x264. */
  codec?: 'av1' | 'h264';
  /** Frames from one key frame to the next. Default 2: any frame is at most one frame from a key frame. */
  g?: number;
  /** Constant rate factor, 0 (best) to 63 (AV1) or 51 (H.264). Default 30. */
  crf?: number;
  /** The encoder's preset. Default 12 for AV1, x264's own for H.264. */
  preset?: number | string;
}

/** Options of {@link VideoEncoder.create}: sizes in pixels, both even. */
export interface VideoEncoderOptions extends VideoEncoding {
  width: number;
  height: number;
  fps: number;
}

/**
 * Encodes RGB frames into an MP4 file, yuv420p without B-frames.
 *
 * Both encoders run in threads of their own; `add` converts the colours, passes the frame on and waits only when the encoder is a few dozen
 * frames behind, so memory stays bounded.
 *
 * @example
 * ```ts
 * const encoder = VideoEncoder.create('episode.mp4', { width: 640, height: 480, fps: 30 });
 * for (const rgb of frames) encoder.add(rgb);
 * await encoder.finish();
 * ```
 */
export class VideoEncoder {
  readonly path: string;
  readonly #ffmpeg: FFmpeg;
  readonly #codec: CodecContext;
  readonly #output: Mp4Output;
  readonly #scale: SoftwareScaleContext;
  readonly #rgb: Frame;
  readonly #yuv: Frame;
  readonly #packet: Packet;
  readonly #rowBytes: number;
  readonly #height: number;
  #frames = 0;
  #open = true;

  private constructor(ffmpeg: FFmpeg, path: string, options: VideoEncoderOptions) {
    const { av, constants } = ffmpeg;
    const { width, height, fps } = options;
    this.path = path;
    this.#ffmpeg = ffmpeg;
    this.#rowBytes = width * 3;
    this.#height = height;
    this.#codec = openCodec(ffmpeg, path, options);
    this.#output = new Mp4Output(ffmpeg, path, fps, this.#codec);
    this.#scale = new av.SoftwareScaleContext();
    this.#scale.allocContext();
    this.#scale.setOption('sws_flags', 'bilinear');
    this.#rgb = allocateFrame(ffmpeg, width, height, constants.AV_PIX_FMT_RGB24);
    this.#yuv = allocateFrame(ffmpeg, width, height, constants.AV_PIX_FMT_YUV420P);
    this.#packet = new av.Packet();
    this.#packet.alloc();
  }

  /**
   * Creates a file at `path`, replacing any existing one.
   *
   * @throws CraftError `VIDEO_LIBRARY`, `VIDEO_ENCODER` if the encoder rejects the options, `DISK_FULL`, `VIDEO_WRITE`.
   */
  static create(path: string, options: VideoEncoderOptions): VideoEncoder {
    return new VideoEncoder(loadFFmpegSync(), path, options);
  }

  /** Frames added. */
  get frames(): number {
    return this.#frames;
  }

  /** Adds a frame, RGB bytes [H, W, 3]; they are copied. @throws CraftError `DISK_FULL`, `VIDEO_WRITE`. */
  add(rgb: Uint8Array | Uint8ClampedArray): void {
    // The encoder may still hold the buffers of this frame.
    this.#check(this.#yuv.makeWritable());
    const plane = this.#rgb.data![0]!;
    const stride = this.#rgb.linesize[0]!;
    for (let y = 0; y < this.#height; y++) {
      plane.set(rgb.subarray(y * this.#rowBytes, (y + 1) * this.#rowBytes), y * stride);
    }
    this.#check(this.#scale.scaleFrameSync(this.#yuv, this.#rgb));
    this.#yuv.pts = BigInt(this.#frames);
    this.#check(this.#codec.sendFrameSync(this.#yuv));
    this.#frames++;
    while (this.#received(this.#codec.receivePacketSync(this.#packet)));
  }

  /** Encodes the remaining frames off the main thread and completes the file. @throws CraftError `DISK_FULL`, `VIDEO_WRITE`. */
  async finish(): Promise<void> {
    this.#check(await this.#codec.sendFrame(null));
    while (this.#received(await this.#codec.receivePacket(this.#packet)));
    this.#output.finish();
    this.#free();
  }

  /** Gives up; the file is left incomplete. */
  abort(): void {
    if (!this.#open) return;
    this.#output.close();
    this.#free();
  }

  #received(code: number): boolean {
    const { AVERROR_EAGAIN, AVERROR_EOF } = this.#ffmpeg.constants;
    if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return false;
    this.#check(code);
    this.#output.write(this.#packet);
    this.#packet.unref();
    return true;
  }

  #check(code: number): void {
    if (code < 0) throw videoWriteError(this.#ffmpeg, this.path, code);
  }

  #free(): void {
    this.#open = false;
    this.#scale.freeContext();
    this.#codec.freeContext();
    this.#packet.free();
    this.#rgb.free();
    this.#yuv.free();
  }
}

/** SVT-AV1 accepts smaller images and then hangs. */
const SVT_SMALLEST = 30;

function openCodec(ffmpeg: FFmpeg, path: string, options: VideoEncoderOptions): CodecContext {
  const { av, constants } = ffmpeg;
  const { codec: name = 'av1', width, height, fps, g = 2, crf = 30 } = options;
  const preset = options.preset ?? (name === 'av1' ? 12 : undefined);
  const refused = (what: string) =>
    new CraftError('VIDEO_ENCODER', `${path}: no ${name} video of ${width}×${height} at ${fps} fps: ${what}`);
  if (name === 'av1' && Math.min(width, height) < SVT_SMALLEST) {
    throw refused(`its sides must be ${SVT_SMALLEST} pixels or more; choose larger pictures, or codec h264`);
  }
  const encoder = { av1: constants.FF_ENCODER_LIBSVTAV1, h264: constants.FF_ENCODER_LIBX264 }[name];
  const codec = av.Codec.findEncoderByName(encoder);
  if (codec === null) throw refused(`this FFmpeg has no ${encoder}`);
  const context = yuv420Context(ffmpeg, codec, { width, height, fps, g });
  // Without B-frames, the file order is the presentation order, and videos can be joined at any frame.
  context.maxBFrames = 0;
  // One by one: a Dictionary handed to open2 is freed twice by node-av 6.1.
  const settings = { crf, ...(preset === undefined ? {} : { preset }) };
  for (const [option, value] of Object.entries(settings)) {
    const code = context.setOption(option, String(value));
    if (code < 0) throw refused(`${option} ${value} is not accepted (${reasonOf(ffmpeg, code)})`);
  }
  const code = context.open2Sync(codec, null);
  // As root, SVT-AV1 gives its threads and this one real-time priority, which can freeze a machine with few cores.
  leaveRealTime();
  if (code < 0) throw refused(`${encoder} does not start (${reasonOf(ffmpeg, code)})`);
  return context;
}
