import { LRUCache } from 'lru-cache';
import type { FileStamp } from './errors.js';
import type { Timeline } from './timestamps.js';

/** What a cache has to know of a video. */
export interface VideoDescription extends Timeline {
  readonly stamp: FileStamp;
  readonly width: number;
  readonly height: number;
}

/** Decoded frames of one video that are at hand. */
export interface CachedVideo extends VideoDescription {
  /** Copies frame `frame` to `offset` of `into`; false when it is not at hand. */
  read(frame: number, into: Uint8Array, offset: number): boolean;
  /** Keeps a frame: [height, width, 3] at `offset` of `from`. */
  write(frame: number, from: Uint8Array, offset: number): void;
}

/** A store of decoded frames. Frames of a file that has changed since are never returned. */
export interface FrameCache {
  /** The video as it was stored; undefined when it is unknown or the file has another stamp. */
  open(path: string, stamp: FileStamp): CachedVideo | undefined;
  /** Makes room for a video's frames. Undefined when that is not possible. */
  create(video: VideoDescription): CachedVideo | undefined;
  close(): void;
}

/**
 * Decoded frames in memory, at most `maxBytes` of them; those used least recently go first. Every thread has its own.
 *
 * @example
 * ```ts
 * using pool = new VideoPool({ cache: new MemoryFrameCache(2 * 2 ** 30) });
 * ```
 */
export class MemoryFrameCache implements FrameCache {
  readonly #frames: LRUCache<string, Uint8Array>;
  readonly #videos = new Map<string, CachedVideo>();

  /** @param maxBytes Bound on the frames' bytes; one of 640 × 480 has 921,600. */
  constructor(maxBytes: number) {
    this.#frames = new LRUCache({
      maxSize: Math.max(1, Math.floor(maxBytes)),
      sizeCalculation: (rgb) => rgb.byteLength,
    });
  }

  /** Bytes of frames now held. */
  get bytes(): number {
    return this.#frames.calculatedSize;
  }

  open(path: string, stamp: FileStamp): CachedVideo | undefined {
    const video = this.#videos.get(path);
    return video !== undefined && sameStamp(video.stamp, stamp) ? video : undefined;
  }

  create({ path, stamp, width, height, timestamps }: VideoDescription): CachedVideo {
    const key = (frame: number) => `${frame}:${stamp.size}:${stamp.mtimeMs}:${path}`;
    const bytes = width * height * 3;
    const video: CachedVideo = {
      path,
      stamp,
      width,
      height,
      timestamps,
      read: (frame, into, offset) => {
        const rgb = this.#frames.get(key(frame));
        if (rgb !== undefined) into.set(rgb, offset);
        return rgb !== undefined;
      },
      write: (frame, from, offset) => {
        this.#frames.set(key(frame), from.slice(offset, offset + bytes));
      },
    };
    this.#videos.set(path, video);
    return video;
  }

  close(): void {
    this.#frames.clear();
    this.#videos.clear();
  }
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.size === b.size && a.mtimeMs === b.mtimeMs;
}
