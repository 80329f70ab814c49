import { availableParallelism } from 'node:os';
import { CraftError } from '@craft-ft/torch/errors';
import type { Batch } from '../dataset/batch.js';
import type { SubsetIndex } from '../dataset/indices.js';
import { StopGate, WorkerPool } from '../worker-pool.js';
import { type CameraDataset, CameraSource, type FrameWanted } from './camera-source.js';
import { type DecoderSettings, FrameDecoder, type FrameRequest, shareOut } from './frame-decoder.js';

/** Options of {@link FrameLoader}. */
export interface FrameLoaderOptions {
  /** Policy keys of the cameras. */
  cameras: readonly string[];
  /** Worker threads, at most one per processor; 0 decodes in the calling thread. Default 4, as LeRobot's. */
  numWorkers?: number;
  /** Largest allowed distance between a frame and its timestamp, in seconds. Default 1e-4. */
  toleranceS?: number;
  /** Where decoded frames are cached: null for nowhere, `memory`, or a folder. Default null. */
  frameCache?: string | null;
}

/** Decoded frames of one camera. */
export interface LoadedFrames {
  /** uint8 [n, height, width, 3], RGB, in shared memory. */
  readonly rgb: Uint8Array;
  readonly height: number;
  readonly width: number;
}

/** Size limit of all memory caches of decoded frames together. */
const CACHE_BYTES = 2 * 2 ** 30;

/** A dataset whose rows can be requested. */
interface RowDataset extends CameraDataset {
  batch(rows: readonly SubsetIndex[]): Batch;
}

/** Camera frames of one or several datasets, decoded off the main thread straight into shared memory. */
export class FrameLoader {
  /** By camera, one source per dataset. */
  readonly #sources: ReadonlyMap<string, readonly CameraSource[]>;
  readonly #datasets: readonly CameraDataset[];
  readonly #workers: FrameWorkers;
  readonly #toleranceS: number;
  /** Released buffers, by size, for reuse. Left to the garbage collectors of all threads they would pile up to gigabytes. */
  readonly #spare = new Map<number, SharedArrayBuffer[]>();

  /**
   * @param datasets one, or the members of a mixture in its order
   * @throws CraftError `VIDEO_MISSING`, `DATASET_KEY`, `FRAME_SIZE` if a camera's frame size differs between datasets
   */
  constructor(datasets: CameraDataset | readonly CameraDataset[], options: FrameLoaderOptions) {
    this.#datasets = 'metadata' in datasets ? [datasets] : datasets;
    this.#sources = new Map(
      options.cameras.map((camera) => [
        camera,
        this.#datasets.map((dataset) => new CameraSource(dataset, camera)),
      ]),
    );
    for (const sources of this.#sources.values()) {
      for (const source of sources) source.requireFiles();
      requireOneSize(sources);
    }
    const workers = Math.min(options.numWorkers ?? 4, availableParallelism());
    const cacheBytes = CACHE_BYTES / Math.max(1, workers);
    this.#workers = new FrameWorkers(workers, { frameCache: options.frameCache ?? null, cacheBytes });
    this.#toleranceS = options.toleranceS ?? 1e-4;
  }

  /** The frames of some rows, for a loader with one dataset, by camera. @throws CraftError as {@link loadBatch} */
  load(rows: readonly SubsetIndex[]): Promise<Record<string, LoadedFrames>> {
    return this.loadBatch((this.#datasets[0] as RowDataset).batch(rows));
  }

  /**
   * The frames of a batch, by camera. The batch's `episode_index`, `frame_index`, `timestamp` and, in a mixture, `dataset_index` identify
   * them.
   *
   * @throws CraftError naming file and time of the first frame that cannot be read
   */
  async loadBatch(batch: Batch): Promise<Record<string, LoadedFrames>> {
    const wanted = wantedFrames(batch, this.#datasets.length);
    const count = batch.tasks.length;
    const loaded = await Promise.all(
      [...this.#sources].map(async ([camera, sources]) => {
        const { height, width } = sources[0]!;
        const bytes = count * height * width * 3;
        const buffer = this.#spare.get(bytes)?.pop() ?? new SharedArrayBuffer(bytes);
        const tasks = sources.flatMap((source, i) => source.tasks(wanted[i]!));
        await this.#workers.decode({ tasks, buffer, height, width, toleranceS: this.#toleranceS });
        return [camera, { rgb: new Uint8Array(buffer), height, width }] as const;
      }),
    );
    return Object.fromEntries(loaded);
  }

  /** Returns the frames' buffers for reuse by later batches; the frames must no longer be used. */
  release(frames: Readonly<Record<string, LoadedFrames>>): void {
    for (const { rgb } of Object.values(frames)) {
      const buffer = rgb.buffer as SharedArrayBuffer;
      const spare = this.#spare.get(buffer.byteLength);
      if (spare === undefined) this.#spare.set(buffer.byteLength, [buffer]);
      else spare.push(buffer);
    }
  }

  close(): Promise<void> {
    this.#spare.clear();
    return this.#workers.close();
  }
}

// By dataset; slots are positions in the batch.
function wantedFrames({ columns, tasks }: Batch, datasets: number): FrameWanted[][] {
  const wanted: FrameWanted[][] = Array.from({ length: datasets }, () => []);
  const column = (key: string) => columns[key]?.data;
  const [episodes, frames, times] = [column('episode_index')!, column('frame_index')!, column('timestamp')!];
  const owners = column('dataset_index');
  tasks.forEach((_, slot) => {
    const place = { episode: Number(episodes[slot]), frame: Number(frames[slot]), time: Number(times[slot]) };
    wanted[owners === undefined ? 0 : Number(owners[slot])]!.push({ place, slot });
  });
  return wanted;
}

function requireOneSize(sources: readonly CameraSource[]): void {
  const [first, ...others] = sources;
  const other = others.find(({ height, width }) => height !== first!.height || width !== first!.width);
  if (other === undefined) return;
  throw new CraftError(
    'FRAME_SIZE',
    `camera "${other.key}" is ${first!.height}×${first!.width} in one dataset and ${other.height}×${other.width} in another`,
  );
}

/** Decodes frames in worker threads (or, with none, in the calling thread). The result does not depend on which thread decodes what. */
export class FrameWorkers {
  readonly #pool: WorkerPool<FrameDecoder>;

  /**
   * @param count worker threads; 0 decodes in the calling thread
   * @param entry what a worker runs. Default: the decoder
   */
  constructor(
    count: number,
    settings: DecoderSettings,
    entry: URL = new URL('./frame-worker.js', import.meta.url),
  ) {
    const gate = new StopGate();
    this.#pool = new WorkerPool({
      count,
      entry,
      gate,
      workerData: { ...settings, gate: gate.memory },
      host: () => new FrameDecoder(settings),
      died: (reason) =>
        new CraftError(
          'LOADER_WORKER',
          `a worker that decodes camera frames died: ${reason}; try fewer by --num_workers`,
        ),
      closed: () => new CraftError('LOADER_CLOSED', 'the loader of camera frames is closed'),
    });
  }

  /** Resolves when every frame is in the request's buffer. @throws CraftError naming file and time, `LOADER_WORKER`, `LOADER_CLOSED` */
  async decode(request: FrameRequest): Promise<void> {
    const shares = shareOut(request.tasks, this.#pool.count);
    await Promise.all(
      shares.map((tasks) => this.#pool.call(this.#pool.idlest, 'run', { ...request, tasks })),
    );
  }

  /** Ends the threads after their current frames; unfinished requests fail. */
  close(): Promise<void> {
    return this.#pool.close();
  }
}
