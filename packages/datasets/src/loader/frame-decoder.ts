import { CraftError } from '@craft-ft/torch/errors';
import { DiskFrameCache, MemoryFrameCache } from '../video/frame-cache.js';
import { decodeImage } from '../video/image.js';
import { VideoPool } from '../video/pool.js';
import { StopGate } from '../worker-pool.js';
import { ParquetImages } from './parquet-images.js';

/** Frames of one video, and their positions in a buffer. */
export interface VideoTask {
  readonly kind: 'video';
  readonly path: string;
  /** Seconds within the file, ascending. */
  readonly times: number[];
  /** Position of each in the buffer, in frames. */
  readonly slots: number[];
}

/** Images stored in the rows of one Parquet file, and their positions in a buffer. */
export interface ImageTask {
  readonly kind: 'image';
  readonly path: string;
  readonly column: string;
  /** Rows within the file, ascending. */
  readonly rows: number[];
  /** Name of each in error messages: its episode and frame. */
  readonly names: string[];
  /** Position of each in the buffer, in frames. */
  readonly slots: number[];
}

export type FrameTask = VideoTask | ImageTask;

/** A request to a frame decoder: tasks that fill one buffer with frames of one size. */
export interface FrameRequest {
  readonly tasks: FrameTask[];
  /** uint8 [n, height, width, 3] */
  readonly buffer: SharedArrayBuffer;
  readonly height: number;
  readonly width: number;
  readonly toleranceS: number;
}

/** Settings of a decoder; plain data, so that it can be sent to a worker. */
export interface DecoderSettings {
  /** Where decoded frames are cached: null for nowhere, `memory`, or a folder. */
  readonly frameCache: string | null;
  /** Size limit of a memory cache, bytes. */
  readonly cacheBytes: number;
  /** Memory of the workers' StopGate; absent in the main thread. */
  readonly gate?: SharedArrayBuffer;
}

/** Handles frame requests one after the other. Each worker has one; without workers, the main thread has one. */
export class FrameDecoder {
  readonly #pool: VideoPool;
  readonly #images = new ParquetImages();
  readonly #gate: StopGate | undefined;
  #closed = false;

  constructor({ frameCache, cacheBytes, gate }: DecoderSettings) {
    this.#gate = gate === undefined ? undefined : new StopGate(gate);
    const cache =
      frameCache === null
        ? undefined
        : frameCache === 'memory'
          ? new MemoryFrameCache(cacheBytes)
          : new DiskFrameCache(frameCache);
    this.#pool = new VideoPool({ cache, gate: this.#gate });
  }

  /**
   * @throws CraftError naming the file: those of `VideoPool.framesAt`, `ParquetImages.read` and `decodeImage`, `FRAME_SIZE`;
   * `LOADER_CLOSED`
   */
  async run(request: FrameRequest): Promise<void> {
    for (const task of request.tasks) {
      if (task.kind === 'video') await this.#video(task, request);
      else await this.#stills(task, request);
    }
  }

  /** A batch in progress when the decoder was closed must not open files again. */
  #requireOpen(): void {
    if (this.#closed) throw new CraftError('LOADER_CLOSED', 'the loader of camera frames is closed');
  }

  async #video(task: VideoTask, { buffer, height, width, toleranceS }: FrameRequest): Promise<void> {
    this.#requireOpen();
    const video = await this.#pool.describe(task.path);
    requireSize(task.path, video, { height, width });
    const { rgb } = await this.#pool.framesAt(task.path, task.times, { toleranceS });
    const bytes = height * width * 3;
    const target = new Uint8Array(buffer);
    task.slots.forEach((slot, i) => {
      target.set(rgb.subarray(i * bytes, (i + 1) * bytes), slot * bytes);
    });
  }

  async #stills(task: ImageTask, { buffer, height, width }: FrameRequest): Promise<void> {
    const { path, column, rows, names, slots } = task;
    for (const [i, row] of rows.entries()) {
      this.#requireOpen();
      const where = `${path}: "${column}", ${names[i]}`;
      const encoded = await this.#images.read(path, column, row);
      if (encoded === undefined) {
        throw new CraftError(
          'IMAGE_INVALID',
          `${where}: no image bytes; record or convert the dataset again`,
        );
      }
      const decode = () => decodeImage(encoded, where);
      const image = await (this.#gate === undefined ? decode() : this.#gate.run(decode));
      requireSize(where, image, { height, width });
      new Uint8Array(buffer).set(image.rgb, slots[i]! * height * width * 3);
    }
  }

  close(): void {
    this.#closed = true;
    this.#pool.close();
    this.#images.close();
  }
}

interface Size {
  readonly height: number;
  readonly width: number;
}

function requireSize(where: string, found: Size, expected: Size): void {
  if (found.height === expected.height && found.width === expected.width) return;
  throw new CraftError(
    'FRAME_SIZE',
    `${where}: frames are ${found.height}×${found.width}, info.json says ${expected.height}×${expected.width}`,
  );
}

/** Splits tasks into `parts` requests of about equal numbers of frames; neighbours in a file stay together. */
export function shareOut(tasks: readonly FrameTask[], parts: number): FrameTask[][] {
  const total = tasks.reduce((sum, { slots }) => sum + slots.length, 0);
  const size = Math.ceil(total / parts);
  const shares: FrameTask[][] = [[]];
  let room = size;
  for (const task of tasks) {
    for (let done = 0; done < task.slots.length; ) {
      if (room === 0) {
        shares.push([]);
        room = size;
      }
      const count = Math.min(room, task.slots.length - done);
      shares[shares.length - 1]!.push(part(task, done, done + count));
      room -= count;
      done += count;
    }
  }
  return shares.filter((share) => share.length > 0);
}

function part(task: FrameTask, from: number, to: number): FrameTask {
  const slots = task.slots.slice(from, to);
  return task.kind === 'video'
    ? { ...task, slots, times: task.times.slice(from, to) }
    : { ...task, slots, rows: task.rows.slice(from, to), names: task.names.slice(from, to) };
}
