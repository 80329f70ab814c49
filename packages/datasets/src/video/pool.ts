import { LRUCache } from 'lru-cache';
import type { StopGate } from '../worker-pool.js';
import { stampVideo } from './demuxer.js';
import type { CachedVideo, FrameCache, VideoDescription } from './frame-cache.js';
import type { Frames } from './image.js';
import { framesNear } from './packet-index.js';
import { type FramesOptions, VideoReader } from './reader.js';

interface VideoPoolOptions {
  /** Maximum number of open videos; the least recently used are closed first. Default 32: about 2 MB each at 640 × 480. */
  maxOpen?: number;
  /** Threads of each decoder. Default 1. */
  threads?: number;
  /** Where decoded frames are cached. Default: nowhere. The pool closes the cache. */
  cache?: FrameCache;
  /** For a pool in a worker that may be terminated while it reads. */
  gate?: StopGate;
}

/**
 * Reads frames of many videos, a bounded number of them open at a time. Not shared between threads: each has its own.
 *
 * @example
 * ```ts
 * using pool = new VideoPool();
 * const { rgb, width, height } = await pool.framesAt(metadata.videoPath(episode, camera), [segment.fromTimestamp + 0.5]);
 * ```
 */
export class VideoPool {
  readonly #readers: LRUCache<string, VideoReader>;
  readonly #threads: number;
  readonly #cache: FrameCache | undefined;
  readonly #gate: StopGate | undefined;
  /** Calls run one after the other, so that a reader in use is never evicted. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: VideoPoolOptions = {}) {
    this.#readers = new LRUCache({
      max: Math.max(1, options.maxOpen ?? 32),
      dispose: (reader) => reader.close(),
    });
    this.#threads = options.threads ?? 1;
    this.#cache = options.cache;
    this.#gate = options.gate;
  }

  /** Videos now open. */
  get open(): number {
    return this.#readers.size;
  }

  /**
   * Size and timeline of a video, without decoding.
   *
   * @throws CraftError as `VideoReader.open`.
   */
  describe(path: string): Promise<VideoDescription> {
    return this.#inTurn(async () => this.#cached(path) ?? (await this.#reader(path)));
  }

  /**
   * The frames of `path` nearest to `times`, through the cache if there is one.
   *
   * @param times Seconds within the file, in any order.
   * @throws CraftError as `VideoReader.open` and `VideoReader.framesAt`.
   */
  framesAt(path: string, times: ArrayLike<number>, options: FramesOptions = {}): Promise<Frames> {
    return this.#inTurn(async () => {
      let cached = this.#cached(path);
      const video = cached ?? (await this.#reader(path));
      const { width, height } = video;
      const frames = framesNear(video, times, options.toleranceS);
      const { into = new Uint8Array(frames.length * width * height * 3), offset = 0 } = options;
      if (this.#cache === undefined) {
        const reader = await this.#reader(path);
        return { rgb: reader.framesByNumber(frames, { into, offset }), width, height };
      }
      cached ??= this.#cache.create(video);
      const at = (slot: number) => offset + slot * width * height * 3;
      if (at(frames.length) > into.length) {
        throw new RangeError(`${frames.length} frames do not fit at ${offset} of ${into.length} bytes`);
      }
      const missing = [...frames.keys()].filter(
        (slot) => cached?.read(frames[slot]!, into, at(slot)) !== true,
      );
      if (missing.length > 0) {
        const reader = await this.#reader(path);
        const rgb = reader.framesByNumber(missing.map((slot) => frames[slot]!));
        missing.forEach((slot, i) => {
          into.set(rgb.subarray(i * reader.frameBytes, (i + 1) * reader.frameBytes), at(slot));
          cached?.write(frames[slot]!, rgb, i * reader.frameBytes);
        });
      }
      return { rgb: into, width, height };
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const gate = this.#gate;
    const result = this.#turn.then(gate === undefined ? work : () => gate.run(work));
    this.#turn = result.catch(() => {});
    return result;
  }

  #cached(path: string): CachedVideo | undefined {
    return this.#cache?.open(path, stampVideo(path));
  }

  async #reader(path: string): Promise<VideoReader> {
    const open = this.#readers.get(path);
    if (open !== undefined) return open;
    const reader = await VideoReader.open(path, { threads: this.#threads });
    this.#readers.set(path, reader);
    return reader;
  }

  /** Closes every video and the cache. */
  close(): void {
    this.#readers.clear();
    this.#cache?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
