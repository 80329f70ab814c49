import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { atomicWrite, makeFolder, writeFully } from '@craft-ft/torch';
import { LRUCache } from 'lru-cache';
import type { FileStamp } from './demuxer.js';
import type { Timeline } from './packet-index.js';

/** What a cache needs to know about a video. */
export interface VideoDescription extends Timeline {
  readonly stamp: FileStamp;
  readonly width: number;
  readonly height: number;
}

/** The cached frames of one video. */
export interface CachedVideo extends VideoDescription {
  /** Copies frame `frame` to `offset` of `into`; false when it is not cached. */
  read(frame: number, into: Uint8Array, offset: number): boolean;
  /** Keeps a frame: [height, width, 3] at `offset` of `from`. */
  write(frame: number, from: Uint8Array, offset: number): void;
}

/** A store of decoded frames. Frames of a file that has changed since are never returned. */
export interface FrameCache {
  /** The video as it was stored; undefined if it is unknown or the file's stamp differs. */
  open(path: string, stamp: FileStamp): CachedVideo | undefined;
  /** Makes room for a video's frames. Undefined if that is not possible. */
  create(video: VideoDescription): CachedVideo | undefined;
  close(): void;
}

/**
 * Decoded frames in memory, at most `maxBytes` of them; the least recently used go first. Every thread has its own.
 *
 * @example
 * ```ts
 * using pool = new VideoPool({ cache: new MemoryFrameCache(2 * 2 ** 30) });
 * ```
 */
export class MemoryFrameCache implements FrameCache {
  readonly #frames: LRUCache<string, Uint8Array>;
  readonly #videos = new Map<string, CachedVideo>();

  /** @param maxBytes Size limit of the frames; one of 640 × 480 takes 921,600 bytes. */
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

function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.size === b.size && a.mtimeMs === b.mtimeMs;
}

const FORMAT = 'craft-frames 1';
/** Room for the header; frames begin at a multiple of it. */
const PAGE = 4096;
/** Maximum number of open files. */
const MAX_OPEN = 64;

interface Header {
  format: string;
  /** The video. */
  source: string;
  size: number;
  mtimeMs: number;
  width: number;
  height: number;
  frames: number;
}

/**
 * Decoded frames on disk: raw RGB, one sparse file per video, filled as frames are first decoded. Threads and processes may share the
 * folder: a file appears under its name with its header complete, a frame counts only once its checksum is written after it, and two
 * writers of one frame write the same bytes. The file of a video that has changed since (size or modification time) is created anew. When
 * the disk is full, existing frames are still used and no more are stored.
 *
 * Layout, little endian: a page of JSON (format, source, size, mtimeMs, width, height, frames) padded with spaces;
 * float64 [frames] times in seconds; uint32 [frames] CRC-32 of each frame, 0 for none; from the next multiple of 4096 bytes
 * uint8 [frames, height, width, 3].
 */
export class DiskFrameCache implements FrameCache {
  readonly #folder: string;
  readonly #warn: (message: string) => void;
  readonly #open = new LRUCache<string, FrameFile>({ max: MAX_OPEN, dispose: (file) => file.close() });
  #full = false;

  /**
   * @param folder Created if it does not exist.
   * @param onWarning Called once, with one line, when frames cannot be written. Default: `console.warn`.
   */
  constructor(folder: string, onWarning?: (message: string) => void) {
    this.#folder = resolve(folder);
    this.#warn = onWarning ?? ((message) => console.warn(message));
  }

  open(path: string, stamp: FileStamp): CachedVideo | undefined {
    const known = this.#open.get(path);
    if (known !== undefined && sameStamp(known.stamp, stamp)) return known;
    this.#open.delete(path);
    const file = FrameFile.open(this.#fileFor(path), path, stamp, this.#onFull);
    if (file !== undefined) this.#open.set(path, file);
    return file;
  }

  create(video: VideoDescription): CachedVideo | undefined {
    if (this.#full) return undefined;
    try {
      makeFolder(this.#folder);
      createFrameFile(this.#fileFor(video.path), video);
    } catch (error) {
      this.#onFull(error);
      return undefined;
    }
    return this.open(video.path, video.stamp);
  }

  close(): void {
    this.#open.clear();
  }

  #fileFor(path: string): string {
    const hash = createHash('sha256').update(resolve(path)).digest('hex').slice(0, 16);
    return join(this.#folder, `${basename(path)}-${hash}.frames`);
  }

  readonly #onFull = (error: unknown): void => {
    if (this.#full) return;
    this.#full = true;
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    this.#warn(`${this.#folder}: decoded frames cannot be kept (${reason}); going on without keeping more`);
  };
}

/** Creates a file without frames. */
function createFrameFile(name: string, video: VideoDescription): void {
  const { path, stamp, width, height, timestamps } = video;
  const frames = timestamps.length;
  const header: Header = { format: FORMAT, source: resolve(path), ...stamp, width, height, frames };
  const page = Buffer.alloc(PAGE, ' ');
  page.write(JSON.stringify(header));
  atomicWrite(name, (file) => {
    writeFully(file, page);
    writeFully(file, new Uint8Array(timestamps.buffer, timestamps.byteOffset, timestamps.byteLength));
    ftruncateSync(file, framesBegin(frames) + frames * width * height * 3);
  });
}

function framesBegin(frames: number): number {
  return Math.ceil((PAGE + frames * 12) / PAGE) * PAGE;
}

class FrameFile implements CachedVideo {
  readonly path: string;
  readonly stamp: FileStamp;
  readonly width: number;
  readonly height: number;
  readonly timestamps: Float64Array;
  readonly #file: number;
  readonly #onFull: (error: unknown) => void;
  readonly #sum = new Uint32Array(1);
  #writable = true;

  private constructor(path: string, header: Header, file: number, onFull: (error: unknown) => void) {
    this.path = path;
    this.stamp = { size: header.size, mtimeMs: header.mtimeMs };
    this.width = header.width;
    this.height = header.height;
    this.#file = file;
    this.#onFull = onFull;
    this.timestamps = new Float64Array(header.frames);
    readSync(file, new Uint8Array(this.timestamps.buffer), 0, header.frames * 8, PAGE);
  }

  /** Undefined if there is no such file or it does not match the video as it is now. */
  static open(
    name: string,
    path: string,
    stamp: FileStamp,
    onFull: (e: unknown) => void,
  ): FrameFile | undefined {
    let file: number;
    try {
      file = openSync(name, 'r+');
    } catch {
      return undefined;
    }
    try {
      const page = Buffer.alloc(PAGE);
      readSync(file, page, 0, PAGE, 0);
      const header = JSON.parse(page.toString()) as Header;
      if (header.format === FORMAT && header.source === resolve(path) && sameStamp(header, stamp)) {
        return new FrameFile(path, header, file, onFull);
      }
    } catch {
      // Not a frame file: it is replaced.
    }
    closeSync(file);
    return undefined;
  }

  get #frameBytes(): number {
    return this.width * this.height * 3;
  }

  #sumAt(frame: number): number {
    return PAGE + this.timestamps.length * 8 + frame * 4;
  }

  #frameAt(frame: number): number {
    return framesBegin(this.timestamps.length) + frame * this.#frameBytes;
  }

  read(frame: number, into: Uint8Array, offset: number): boolean {
    const bytes = this.#frameBytes;
    this.#sum[0] = 0;
    readSync(this.#file, new Uint8Array(this.#sum.buffer), 0, 4, this.#sumAt(frame));
    if (this.#sum[0] === 0) return false;
    if (readSync(this.#file, into, offset, bytes, this.#frameAt(frame)) !== bytes) return false;
    return checksum(into.subarray(offset, offset + bytes)) === this.#sum[0];
  }

  write(frame: number, from: Uint8Array, offset: number): void {
    if (!this.#writable) return;
    const bytes = this.#frameBytes;
    try {
      const written = writeSync(this.#file, from, offset, bytes, this.#frameAt(frame));
      if (written !== bytes) throw new Error('the disk is full');
      this.#sum[0] = checksum(from.subarray(offset, offset + bytes));
      writeSync(this.#file, new Uint8Array(this.#sum.buffer), 0, 4, this.#sumAt(frame));
    } catch (error) {
      this.#writable = false;
      this.#onFull(error);
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** CRC-32, never 0, which means that there is no frame. */
function checksum(rgb: Uint8Array): number {
  return crc32(rgb) || 1;
}
