import { availableParallelism } from 'node:os';
import type { LeRobotDataset } from '../datasets/dataset.js';
import type { SubsetIndex } from '../datasets/indices.js';
import { CameraSource } from './camera-source.js';
import { FrameWorkers } from './worker-pool.js';

/** Options of {@link FrameLoader}. */
export interface FrameLoaderOptions {
  /** Policy keys of the cameras. */
  cameras: readonly string[];
  /** Worker threads, at most one per processor; 0 decodes in the calling thread. Default 4, as LeRobot's. */
  numWorkers?: number;
  /** How far, in seconds, a frame may lie from its time. Default 1e-4. */
  toleranceS?: number;
  /** Where decoded frames are kept: null nowhere, `memory`, or a folder. Default null. */
  frameCache?: string | null;
}

/** Decoded frames of one camera. */
export interface LoadedFrames {
  /** uint8 [n, height, width, 3], RGB, in shared memory. */
  readonly rgb: Uint8Array;
  readonly height: number;
  readonly width: number;
}

/** Bound on all memory caches of decoded frames together. */
const CACHE_BYTES = 2 * 2 ** 30;

/** Camera frames of a dataset's rows, decoded off the main thread straight into shared memory. */
export class FrameLoader {
  readonly #sources: CameraSource[];
  readonly #workers: FrameWorkers;
  readonly #toleranceS: number;

  /** @throws CraftError `VIDEO_MISSING`, `DATASET_KEY` */
  constructor(dataset: LeRobotDataset, options: FrameLoaderOptions) {
    this.#sources = options.cameras.map((camera) => new CameraSource(dataset, camera));
    for (const source of this.#sources) source.requireFiles();
    const workers = Math.min(options.numWorkers ?? 4, availableParallelism());
    const cacheBytes = CACHE_BYTES / Math.max(1, workers);
    this.#workers = new FrameWorkers(workers, { frameCache: options.frameCache ?? null, cacheBytes });
    this.#toleranceS = options.toleranceS ?? 1e-4;
  }

  /**
   * The frames of some rows, by camera.
   *
   * @throws CraftError naming file and time of the first frame that cannot be had
   */
  async load(rows: readonly SubsetIndex[]): Promise<Record<string, LoadedFrames>> {
    const loaded = await Promise.all(
      this.#sources.map(async (source) => {
        const { key, height, width } = source;
        const buffer = new SharedArrayBuffer(rows.length * height * width * 3);
        const tasks = await source.tasks(rows);
        await this.#workers.decode({ tasks, buffer, height, width, toleranceS: this.#toleranceS });
        return [key, { rgb: new Uint8Array(buffer), height, width }] as const;
      }),
    );
    return Object.fromEntries(loaded);
  }

  close(): Promise<void> {
    return this.#workers.close();
  }
}
