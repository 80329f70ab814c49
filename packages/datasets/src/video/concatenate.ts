import { setImmediate } from 'node:timers/promises';
import type { CodecParameters, FormatContext, Packet } from 'node-av/lib';
import { invalidVideo } from './errors.js';
import { type FFmpeg, reasonOf } from './ffmpeg.js';
import { loadFFmpegSync } from './ffmpeg-sync.js';
import { Mp4Output } from './mp4-output.js';

/** Packets copied before other work gets its turn. */
const BATCH = 512;

/**
 * Joins MP4 files of the same encoding into one by copying packets, decoding nothing. Frame k of the result is at k/fps, so
 * that times never depend on the durations of the parts.
 *
 * @param fps Frames per second of all parts, which must be without B-frames.
 * @returns Frames of the result.
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
