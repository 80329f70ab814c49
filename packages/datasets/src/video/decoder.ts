import type { CodecContext, Frame } from 'node-av/lib';
import type { Demuxer } from './demuxer.js';
import { invalidVideo } from './demuxer.js';
import { type FFmpeg, reasonOf } from './ffmpeg.js';
import { seconds } from './packet-index.js';

/** Called for every requested frame; the frame is valid only during the call. */
type OnFrame = (packet: number, frame: Frame) => void;

/** How many frames ahead a request may be and still count as sequential reading. */
const READING_ON = 16;

/**
 * Decodes selected packets of one video with as little work as possible.
 *
 * It tracks what the decoder still holds (`#from`, `#shownUpTo`), so that sequential reading never seeks, and a jump never decodes anything
 * before the key frame or after the requested packet.
 */
export class Decoder {
  readonly #demuxer: Demuxer;
  readonly #ffmpeg: FFmpeg;
  readonly #codec: CodecContext;
  readonly #frame: Frame;
  /** Whether packets from a new position may follow old ones without flushing the decoder; AV1 key frames allow it. */
  readonly #joinsUp: boolean;
  /** The key packet that decoding started from; Infinity when the decoder holds nothing. */
  #from = Number.POSITIVE_INFINITY;
  /** Presentation time of the latest frame output since then. */
  #shownUpTo = Number.NEGATIVE_INFINITY;
  /** Presentation time of the last frame of the previous request. */
  #last = Number.NaN;
  #remaining = new Set<number>();
  #onFrame: OnFrame = () => {};

  /** @throws CraftError `VIDEO_INVALID` when FFmpeg has no decoder for the codec. */
  constructor(demuxer: Demuxer, ffmpeg: FFmpeg, threads: number) {
    const { av, constants } = ffmpeg;
    this.#demuxer = demuxer;
    this.#ffmpeg = ffmpeg;
    const { codecId } = demuxer.codecParameters;
    const codec = av.Codec.findDecoder(codecId);
    if (codec === null) {
      throw invalidVideo(
        demuxer.path,
        `no decoder for its codec "${av.avGetCodecName(codecId) ?? codecId}"; LeRobot's are av1, h264 and hevc`,
      );
    }
    this.#joinsUp = codecId === constants.AV_CODEC_ID_AV1;
    this.#codec = new av.CodecContext();
    this.#codec.allocContext3(codec);
    this.#codec.parametersToContext(demuxer.codecParameters);
    this.#codec.pktTimebase = new av.Rational(demuxer.timeBase.num, demuxer.timeBase.den);
    this.#codec.threadCount = threads;
    this.#frame = new av.Frame();
    this.#frame.alloc();
    const opened = this.#codec.open2Sync(codec, null);
    if (opened < 0) {
      this.close();
      throw invalidVideo(demuxer.path, `its decoder does not start (${reasonOf(ffmpeg, opened)})`);
    }
  }

  /**
   * Decodes the given packets; each is passed to `onFrame` exactly once.
   *
   * @param packets Without duplicates, in presentation order.
   * @throws CraftError `VIDEO_INVALID` when one cannot be decoded.
   */
  decode(packets: readonly number[], onFrame: OnFrame): void {
    if (packets.length === 0) return;
    const { index } = this.#demuxer;
    const ahead = (index.pts[packets[0]!]! - this.#last) / index.interval;
    const readingOn = ahead > 0 && ahead <= READING_ON;
    this.#last = index.pts[packets.at(-1)!]!;
    this.#remaining = new Set(packets);
    this.#onFrame = onFrame;
    try {
      for (const packet of packets) {
        if (!this.#remaining.has(packet)) continue;
        this.#goTo(packet);
        while (this.#demuxer.position <= packet && this.#remaining.has(packet)) this.#feed();
      }
      // Some frames may still be inside the decoder. Feeding more packets outputs them and keeps the position, which suits sequential
      // reading; draining decodes nothing more, which suits jumps.
      while (readingOn && this.#remaining.size > 0 && this.#feed());
      if (this.#remaining.size > 0) this.#drain();
      const [missing] = this.#remaining;
      if (missing !== undefined) throw this.#failed(missing, 'gives no picture');
    } catch (error) {
      this.#from = Number.POSITIVE_INFINITY;
      throw error;
    } finally {
      this.#onFrame = () => {};
    }
  }

  /** Moves to a position from which feeding packets outputs `packet`, unless the decoder is already there. */
  #goTo(packet: number): void {
    const { index, position } = this.#demuxer;
    const key = index.keyFor(packet);
    if (key === -1) throw this.#failed(packet, 'has no key frame before it');
    const ahead = index.pts[packet]! > this.#shownUpTo;
    if (this.#from <= key && key <= position && ahead) return;
    if (!this.#joinsUp && this.#remaining.size > 0 && this.#from !== Number.POSITIVE_INFINITY) {
      this.#drain();
      if (!this.#remaining.has(packet)) return;
    }
    if (!this.#joinsUp || this.#from === Number.POSITIVE_INFINITY) this.#codec.flushBuffers();
    this.#demuxer.seek(key);
    this.#from = key;
    this.#shownUpTo = Number.NEGATIVE_INFINITY;
  }

  /** Sends one packet and receives the frames that come out. False at the end of the file. */
  #feed(): boolean {
    const { position, packet } = this.#demuxer;
    if (!this.#demuxer.next()) return false;
    const code = this.#codec.sendPacketSync(packet);
    if (code < 0) throw this.#failed(position, `cannot be decoded (${reasonOf(this.#ffmpeg, code)})`);
    this.#take();
    return true;
  }

  /** Receives all remaining frames; the decoder is empty afterwards. */
  #drain(): void {
    this.#codec.sendPacketSync(null);
    this.#take();
    this.#from = Number.POSITIVE_INFINITY;
  }

  #take(): void {
    const { constants } = this.#ffmpeg;
    const { index } = this.#demuxer;
    for (;;) {
      const code = this.#codec.receiveFrameSync(this.#frame);
      if (code === constants.AVERROR_EAGAIN || code === constants.AVERROR_EOF) return;
      const packet = code < 0 ? this.#demuxer.position - 1 : index.find(Number(this.#frame.pts));
      if (code < 0) throw this.#failed(packet, `cannot be decoded (${reasonOf(this.#ffmpeg, code)})`);
      if (packet !== -1) this.#shownUpTo = index.pts[packet]!;
      if (!this.#remaining.delete(packet)) continue;
      // FFmpeg conceals damage; a policy must not learn from concealed frames.
      if (this.#frame.decodeErrorFlags !== 0) throw this.#failed(packet, 'is damaged');
      this.#onFrame(packet, this.#frame);
    }
  }

  #failed(packet: number, what: string): Error {
    const { index, path, timeBase } = this.#demuxer;
    const time = (index.pts[packet]! * timeBase.num) / timeBase.den;
    return invalidVideo(path, `the frame at ${seconds(time)} s ${what}`);
  }

  close(): void {
    this.#frame.free();
    this.#codec.freeContext();
  }
}
