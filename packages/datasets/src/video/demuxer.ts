import { statSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';
import type { CodecParameters, FormatContext, Packet, Stream } from 'node-av/lib';
import { type FFmpeg, reasonOf } from './ffmpeg.js';
import { type PacketEntry, PacketIndex } from './packet-index.js';

/** The video stream of a container: its packets in decoding order. */
export class Demuxer {
  readonly path: string;
  readonly codecParameters: CodecParameters;
  readonly timeBase: { num: number; den: number };
  readonly index: PacketIndex;
  /** As stated by the container; 0 if it does not say. */
  readonly fps: number;
  /** The packet that `next` read last. */
  readonly packet: Packet;
  readonly #ffmpeg: FFmpeg;
  readonly #context: FormatContext;
  readonly #streamIndex: number;
  /** Number of the packet that `next` reads next. */
  #position: number;
  #sought = false;

  /** @throws CraftError `VIDEO_INVALID` if the file is not a video, is truncated, or has no video stream. */
  constructor(path: string, ffmpeg: FFmpeg) {
    const { av, constants } = ffmpeg;
    this.path = path;
    this.#ffmpeg = ffmpeg;
    this.#context = new av.FormatContext();
    // A name with a colon would be mistaken for a protocol.
    const opened = this.#context.openInputSync(`file:${path}`, null, null);
    if (opened < 0) throw invalidVideo(path, `not a readable video (${reasonOf(ffmpeg, opened)})`);
    this.packet = new av.Packet();
    this.packet.alloc();
    try {
      const streams = this.#context.streams ?? [];
      const isVideo = (stream: Stream) => stream.codecpar.codecType === constants.AVMEDIA_TYPE_VIDEO;
      const stream = streams.find(isVideo);
      if (stream === undefined) throw invalidVideo(path, 'the file has no video stream');
      for (const other of streams) if (other !== stream) other.discard = constants.AVDISCARD_ALL;
      // The header usually has everything; if not, FFmpeg looks at the first packets.
      if (stream.codecpar.width === 0) this.#context.findStreamInfoSync(null);
      this.#streamIndex = stream.index;
      this.codecParameters = stream.codecpar;
      this.timeBase = { num: stream.timeBase.num, den: stream.timeBase.den };
      this.fps = stream.avgFrameRate.den === 0 ? 0 : stream.avgFrameRate.num / stream.avgFrameRate.den;
      this.index = new PacketIndex(this.#scan(Number(stream.nbFrames)), this.timeBase);
      // Having read everything, the container is at its end.
      this.#position = this.index.packets;
      if (this.index.frames === 0) throw invalidVideo(path, 'the video has no frames');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Reads every packet once without decoding. @param promised The number of packets stated in the header; 0 if unknown. */
  #scan(promised: number): PacketEntry[] {
    const { constants } = this.#ffmpeg;
    const packets: PacketEntry[] = [];
    for (let code = this.#read(); code !== constants.AVERROR_EOF; code = this.#read()) {
      const { flags, pts, dts, isKeyframe } = this.packet;
      if (code < 0 || (flags & constants.AV_PKT_FLAG_CORRUPT) !== 0) {
        throw invalidVideo(this.path, `the file is truncated or damaged after ${packets.length} frames`);
      }
      if (pts === constants.AV_NOPTS_VALUE) throw invalidVideo(this.path, 'the frames have no timestamps');
      const shown = (flags & constants.AV_PKT_FLAG_DISCARD) === 0;
      packets.push({
        pts: Number(pts),
        dts: Number(dts === constants.AV_NOPTS_VALUE ? pts : dts),
        key: isKeyframe,
        shown,
      });
    }
    this.packet.unref();
    if (packets.length < promised) {
      throw invalidVideo(
        this.path,
        `the file is truncated: ${packets.length} of ${promised} frames are there`,
      );
    }
    return packets;
  }

  #read(): number {
    const { constants } = this.#ffmpeg;
    for (;;) {
      this.packet.unref();
      const code = this.#context.readFrameSync(this.packet);
      if (code < 0 || this.packet.streamIndex === this.#streamIndex) {
        return code === constants.AVERROR_EAGAIN ? constants.AVERROR_EOF : code;
      }
    }
  }

  /** Number of the packet that the next call of `next` reads. */
  get position(): number {
    return this.#position;
  }

  /** Seeks, so that key packet `key` is the next one read. @throws CraftError `VIDEO_INVALID`. */
  seek(key: number): void {
    const backward = this.#ffmpeg.constants.AVSEEK_FLAG_BACKWARD;
    const code = this.#context.seekFrameSync(this.#streamIndex, BigInt(this.index.dts[key]!), backward);
    if (code < 0) {
      throw invalidVideo(this.path, `no seeking to packet ${key} (${reasonOf(this.#ffmpeg, code)})`);
    }
    this.#position = key;
    this.#sought = true;
  }

  /**
   * Reads the next packet into `packet`. False at the end.
   *
   * @throws CraftError `VIDEO_INVALID`.
   */
  next(): boolean {
    if (this.#position >= this.index.packets) return false;
    for (;;) {
      const code = this.#read();
      const pts = code < 0 ? Number.NaN : Number(this.packet.pts);
      if (pts === this.index.pts[this.#position]) break;
      // Seeking may land on an earlier key frame than the one requested.
      const found = this.index.find(pts);
      if (!this.#sought || found === -1 || found > this.#position) {
        throw invalidVideo(this.path, 'the file has changed since it was opened, or cannot be read any more');
      }
    }
    this.#sought = false;
    this.#position++;
    return true;
  }

  close(): void {
    this.packet.free();
    this.#context.closeInputSync();
  }
}

/** The error for a video that exists but cannot be used. */
export function invalidVideo(path: string, what: string, cause?: unknown): CraftError {
  return new CraftError('VIDEO_INVALID', `${path}: ${what}; download or record the file again`, { cause });
}

/** Size and modification time of a file, to tell whether it is still the same. */
export interface FileStamp {
  readonly size: number;
  readonly mtimeMs: number;
}

/**
 * @throws CraftError `VIDEO_MISSING` if there is no such file, `VIDEO_INVALID` if it is not a file or is empty.
 */
export function stampVideo(path: string): FileStamp {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new CraftError(
      'VIDEO_MISSING',
      `${path}: the video is missing; download it, or leave its camera out of the policy's input`,
    );
  }
  if (!stat.isFile()) throw invalidVideo(path, 'is not a file');
  if (stat.size === 0) throw invalidVideo(path, 'the file is empty');
  return { size: stat.size, mtimeMs: stat.mtimeMs };
}
