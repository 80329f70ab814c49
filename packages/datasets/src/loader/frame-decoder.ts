import { CraftError } from '@craft-ft/torch/errors';
import { DiskFrameCache } from '../video/disk-frame-cache.js';
import { MemoryFrameCache } from '../video/frame-cache.js';
import { decodeImage } from '../video/image.js';
import { VideoPool } from '../video/pool.js';
import { StopGate } from '../video/stop-gate.js';
import type { DecoderSettings, FrameRequest, FrameTask, ImageTask, VideoTask } from './frame-task.js';

/** Does frame requests one after the other; one lives in each worker, or in the main thread where there are no workers. */
export class FrameDecoder {
  readonly #pool: VideoPool;
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

  /** @throws CraftError naming the file: those of `VideoPool.framesAt` and `decodeImage`, `FRAME_SIZE`; `LOADER_CLOSED` */
  async run(request: FrameRequest): Promise<void> {
    for (const task of request.tasks) {
      // A batch that was under way must not open files again.
      if (this.#closed) throw new CraftError('LOADER_CLOSED', 'the loader of camera frames is closed');
      if (task.kind === 'video') await this.#video(task, request);
      else if (this.#gate === undefined) await still(task, request);
      else await this.#gate.run(() => still(task, request));
    }
  }

  async #video(task: VideoTask, { buffer, height, width, toleranceS }: FrameRequest): Promise<void> {
    const video = await this.#pool.describe(task.path);
    requireSize(task.path, video, { height, width });
    const { rgb } = await this.#pool.framesAt(task.path, task.times, { toleranceS });
    const bytes = height * width * 3;
    const target = new Uint8Array(buffer);
    task.slots.forEach((slot, i) => {
      target.set(rgb.subarray(i * bytes, (i + 1) * bytes), slot * bytes);
    });
  }

  close(): void {
    this.#closed = true;
    this.#pool.close();
  }
}

async function still(task: ImageTask, { buffer, height, width }: FrameRequest): Promise<void> {
  const image = await decodeImage(task.bytes, task.where);
  requireSize(task.where, image, { height, width });
  new Uint8Array(buffer).set(image.rgb, task.slot * height * width * 3);
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

/** Shares tasks out to `parts` requests of about as many frames each; neighbours in time stay together. */
export function shareOut(tasks: readonly FrameTask[], parts: number): FrameTask[][] {
  const total = tasks.reduce((sum, task) => sum + (task.kind === 'video' ? task.times.length : 1), 0);
  const size = Math.ceil(total / parts);
  const shares: FrameTask[][] = [[]];
  let room = size;
  for (const task of tasks) {
    let rest = task;
    for (;;) {
      const frames = rest.kind === 'video' ? rest.times.length : 1;
      if (room === 0) {
        shares.push([]);
        room = size;
      }
      if (rest.kind === 'image' || frames <= room) {
        shares[shares.length - 1]!.push(rest);
        room -= frames;
        break;
      }
      const { times, slots } = rest;
      shares[shares.length - 1]!.push({ ...rest, times: times.slice(0, room), slots: slots.slice(0, room) });
      rest = { ...rest, times: times.slice(room), slots: slots.slice(room) };
      room = 0;
    }
  }
  return shares.filter((share) => share.length > 0);
}
