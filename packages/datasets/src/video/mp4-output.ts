import { CraftError } from '@craft-ft/torch/errors';
import type { CodecContext, CodecParameters, FormatContext, Packet, Stream } from 'node-av/lib';
import { type FFmpeg, reasonOf } from './ffmpeg.js';

/** An MP4 file of one video stream whose frames are 1/fps apart, written packet by packet in the order of showing. */
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
    // A name with a colon would be taken for a protocol.
    this.#check(this.#context.allocOutputContext2(null, 'mp4', `file:${path}`));
    this.#stream = this.#context.newStream(null);
    const { codecpar } = this.#stream;
    if (source instanceof av.CodecContext) {
      this.#check(codecpar.fromContext(source));
    } else {
      this.#check(source.copy(codecpar));
      // The tag belongs to the container that was read.
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

  /** Writes a packet as the next frame, whatever its own times are. @throws CraftError `DISK_FULL`, `VIDEO_WRITE`. */
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

/** FFmpeg's error code of a failed write as the CraftError `DISK_FULL` or `VIDEO_WRITE`. */
export function videoWriteError(ffmpeg: FFmpeg, path: string, code: number): CraftError {
  // FFmpeg gives the system's error numbers negated.
  if (code === -28 || code === -122) {
    return new CraftError(
      'DISK_FULL',
      `${path}: no space left on the disk; free some space and record the episode again`,
    );
  }
  return new CraftError('VIDEO_WRITE', `${path}: the video cannot be written: ${reasonOf(ffmpeg, code)}`);
}
