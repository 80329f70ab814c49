import { setImmediate } from 'node:timers/promises';
import { CraftError } from '@craft-ft/torch/errors';
import type { CodecContext, CodecParameters, FormatContext, Packet, Stream } from 'node-av/lib';
import { invalidVideo } from './demuxer.js';
import { type FFmpeg, loadFFmpegSync, reasonOf } from './ffmpeg.js';

/** An MP4 file of one video stream whose frames are 1/fps apart, written packet by packet in presentation order. */
export class Mp4Output {
  readonly path: string;
  readonly #ffmpeg: FFmpeg;
  readonly #context: FormatContext;
  readonly #stream: Stream;
  readonly #fps: number;
  #frames = 0;

  /**
   * @param source An opened encoder, or the parameters of a stream to copy.
   * @throws CraftError `DISK_FULL`, `VIDEO_WRITE`.
   */
  constructor(ffmpeg: FFmpeg, path: string, fps: number, source: CodecContext | CodecParameters) {
    const { av } = ffmpeg;
    this.path = path;
    this.#ffmpeg = ffmpeg;
    this.#fps = fps;
    this.#context = new av.FormatContext();
    // A name with a colon would be mistaken for a protocol.
    this.#check(this.#context.allocOutputContext2(null, 'mp4', `file:${path}`));
    this.#stream = this.#context.newStream(null);
    const { codecpar } = this.#stream;
    if (source instanceof av.CodecContext) {
      this.#check(codecpar.fromContext(source));
    } else {
      this.#check(source.copy(codecpar));
      // The tag belongs to the source container.
      codecpar.codecTag = 0;
    }
    this.#stream.timeBase = new av.Rational(1, fps);
    this.#stream.avgFrameRate = new av.Rational(fps, 1);
    this.#check(this.#context.openOutputSync());
    this.#check(this.#context.writeHeaderSync(null));
  }

  /** Frames written. */
  get frames(): number {
    return this.#frames;
  }

  /** Writes a packet as the next frame, ignoring its own timestamps. @throws CraftError `DISK_FULL`, `VIDEO_WRITE`. */
  write(packet: Packet): void {
    packet.streamIndex = 0;
    packet.pts = BigInt(this.#frames);
    packet.dts = BigInt(this.#frames);
    packet.duration = 1n;
    packet.rescaleTs({ num: 1, den: this.#fps }, this.#stream.timeBase);
    this.#check(this.#context.writeFrameSync(packet));
    this.#frames++;
  }

  /** Completes the file. @throws CraftError `DISK_FULL`, `VIDEO_WRITE`. */
  finish(): void {
    this.#check(this.#context.writeTrailerSync());
    this.close();
  }

  /** Closes the file as it is. */
  close(): void {
    this.#context.closeOutputSync();
    this.#context.freeContext();
  }

  #check(code: number): void {
    if (code < 0) throw videoWriteError(this.#ffmpeg, this.path, code);
  }
}

/** The CraftError (`DISK_FULL` or `VIDEO_WRITE`) for FFmpeg's error code of a failed write. */
export function videoWriteError(ffmpeg: FFmpeg, path: string, code: number): CraftError {
  // FFmpeg returns negated errno values.
  if (code === -28 || code === -122) {
    return new CraftError(
      'DISK_FULL',
      `${path}: no space left on the disk; free some space and record the episode again`,
    );
  }
  return new CraftError('VIDEO_WRITE', `${path}: the video cannot be written: ${reasonOf(ffmpeg, code)}`);
}

/** Packets copied before other work gets its turn. */
const BATCH = 512;

/**
 * Joins MP4 files of the same encoding by copying packets, without decoding. Frame k of the result is at k/fps, so its times never depend
 * on the durations of the parts.
 *
 * @param fps Frames per second of all parts, which must have no B-frames.
 * @returns The number of frames in the result.
 * @throws CraftError `VIDEO_INVALID` for a damaged part, `DISK_FULL`, `VIDEO_WRITE`.
 */
export async function concatenateVideos(
  parts: readonly string[],
  path: string,
  fps: number,
): Promise<number> {
  const ffmpeg = loadFFmpegSync();
  let output: Mp4Output | undefined;
  let header: Buffer | undefined;
  try {
    for (const part of parts) {
      using input = new PacketReader(ffmpeg, part);
      const { parameters } = input;
      const own = parameters.extradata ?? Buffer.alloc(0);
      output ??= new Mp4Output(ffmpeg, path, fps, parameters);
      header ??= own;
      if (!own.equals(header)) throw new Error(`internal: ${part} has another codec header than ${parts[0]}`);
      for (let packets = 1; input.next(); packets++) {
        output.write(input.packet);
        if (packets % BATCH === 0) await setImmediate();
      }
    }
    output!.finish();
    return output!.frames;
  } catch (error) {
    output?.close();
    throw error;
  }
}

/** The packets of a file with one stream, from its beginning. */
class PacketReader implements Disposable {
  readonly packet: Packet;
  readonly #context: FormatContext;
  readonly #ffmpeg: FFmpeg;
  readonly #path: string;

  constructor(ffmpeg: FFmpeg, path: string) {
    const { av } = ffmpeg;
    this.#ffmpeg = ffmpeg;
    this.#path = path;
    this.#context = new av.FormatContext();
    const code = this.#context.openInputSync(`file:${path}`, null, null);
    if (code < 0) throw invalidVideo(path, `not a readable video (${reasonOf(ffmpeg, code)})`);
    this.packet = new av.Packet();
    this.packet.alloc();
  }

  get parameters(): CodecParameters {
    return this.#context.streams[0]!.codecpar;
  }

  next(): boolean {
    this.packet.unref();
    const code = this.#context.readFrameSync(this.packet);
    if (code === this.#ffmpeg.constants.AVERROR_EOF) return false;
    if (code < 0) throw invalidVideo(this.#path, `cannot be read (${reasonOf(this.#ffmpeg, code)})`);
    return true;
  }

  [Symbol.dispose](): void {
    this.packet.free();
    this.#context.closeInputSync();
  }
}
