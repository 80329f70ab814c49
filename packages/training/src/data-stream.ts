import type {
  Batch,
  FrameLoader,
  FrameSampler,
  LeRobotDataset,
  LoadedFrames,
  StreamingDataset,
} from '@craft-ft/datasets';
import { ImageTransforms, resize, type TensorBatch, type Texts, toFloat } from '@craft-ft/policies';
import type { ImageTransformsConfig, PolicyFeatures } from '@craft-ft/policies/config';
import { fromTypedArray, noGrad, scope, type Tensor } from '@craft-ft/torch';

/** A batch's columns as tensors over the same memory. */
export function toTensors(batch: Batch): TensorBatch {
  return Object.fromEntries(
    Object.entries(batch.columns).map(([key, { data, shape, dtype }]) => [
      key,
      fromTypedArray(data, shape, dtype),
    ]),
  );
}

/** The instructions of a batch, for the preprocessor. */
export function toTexts(batch: Batch): Texts {
  return { task: batch.tasks };
}

/** From a dataset's batch to the policy's; the texts are the samples' instructions. */
export type Preprocess = (batch: TensorBatch, texts: Texts) => TensorBatch;

/** The camera side of a stream. */
export interface StreamCameras {
  loader: FrameLoader;
  batches: CameraBatches;
  /** Batches decoded ahead of the one in use; bounds the memory. Default 2. */
  prefetch?: number;
}

/** Batches that a run trains on, step by step. */
export interface TrainingData {
  readonly batchSize: number;
  /** Frames in one epoch. */
  readonly framesPerEpoch: number;
  /**
   * Waits for what the batch of a step needs, and has the next ones prepared meanwhile.
   *
   * @param last last step of the run, beyond which nothing is prepared
   * @throws CraftError naming the file and timestamp of a frame that cannot be read or decoded
   */
  ready(step: number, last?: number): Promise<void>;
  /** The batch of step `step`, counted from 0, which `ready` was called for; its tensors belong to the current scope. */
  batch(step: number): TensorBatch;
  /** Ends the worker threads. */
  close(): Promise<void>;
}

/** A batch with its camera frames. */
interface PreparedBatch {
  batch: Batch;
  frames: Record<string, LoadedFrames>;
}

/** Preprocesses a step's columns and camera frames for the policy. */
function toPolicyBatch(
  { batch, frames }: PreparedBatch,
  step: number,
  cameras: StreamCameras | null,
): TensorBatch {
  const columns = toTensors(batch);
  if (cameras === null) return columns;
  const size = batch.tasks.length;
  const samples = Array.from({ length: size }, (_, i) => step * size + i);
  return { ...columns, ...cameras.batches.tensors(frames, samples) };
}

/** Batches decoded ahead by default. */
const PREFETCH = 2;

/** What is being prepared for coming steps, and what was prepared for the current one. */
class LookAhead<T> {
  readonly #ahead = new Map<number, Promise<T>>();
  #current: { step: number; prepared: T } | null = null;

  /** @param release called once for everything prepared that is no longer needed, because the next step is current or it was skipped */
  constructor(private readonly release: (prepared: T) => void) {}

  has(step: number): boolean {
    return this.#ahead.has(step);
  }

  add(step: number, prepared: Promise<T>): void {
    // Errors are thrown where the step is awaited.
    prepared.catch(() => {});
    this.#ahead.set(step, prepared);
  }

  /** Forgets what is prepared for steps before `first` or after `last`. */
  keep(first: number, last: number): void {
    for (const [step, prepared] of this.#ahead) {
      if (step >= first && step <= last) continue;
      this.#ahead.delete(step);
      prepared.then(this.release, () => {});
    }
  }

  clear(): void {
    this.keep(0, -1);
  }

  isCurrent(step: number): boolean {
    return this.#current?.step === step;
  }

  /** Waits for a step that was added, and makes it the current one. */
  async advance(step: number): Promise<void> {
    const prepared = await this.#ahead.get(step)!;
    this.#ahead.delete(step);
    if (this.#current !== null) this.release(this.#current.prepared);
    this.#current = { step, prepared };
  }

  /** Returns what was prepared for the current step. */
  current(step: number): T {
    if (this.#current?.step !== step) throw new Error(`internal: data of step ${step} were not waited for`);
    return this.#current.prepared;
  }
}

/**
 * Endless batches of a dataset (or a mixture), ready for the policy. The batch of a step is a function of the step alone, so a
 * run resumes anywhere and two streams never disturb each other. With cameras, `ready(step)` must have resolved before `batch(step)`.
 */
export class DataStream implements TrainingData {
  readonly #ahead = new LookAhead<PreparedBatch>(({ frames }) => this.cameras?.loader.release(frames));

  constructor(
    readonly dataset: Pick<LeRobotDataset, 'batch'>,
    readonly sampler: FrameSampler,
    readonly batchSize: number,
    private readonly preprocess: Preprocess,
    private readonly cameras: StreamCameras | null = null,
  ) {}

  get framesPerEpoch(): number {
    return this.sampler.length;
  }

  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.cameras === null || this.#ahead.isCurrent(step)) return;
    const until = Math.min(step + (this.cameras.prefetch ?? PREFETCH), last);
    this.#ahead.keep(step, until);
    for (let next = step; next <= until; next++) this.#request(next, this.cameras.loader);
    await this.#ahead.advance(step);
  }

  #request(step: number, loader: FrameLoader): void {
    if (this.#ahead.has(step)) return;
    const batch = this.#numbers(step);
    this.#ahead.add(
      step,
      loader.loadBatch(batch).then((frames) => ({ batch, frames })),
    );
  }

  #numbers(step: number): Batch {
    return this.dataset.batch(this.sampler.batchIndices(step, this.batchSize));
  }

  batch(step: number): TensorBatch {
    if (this.cameras === null) {
      const numbers = this.#numbers(step);
      return this.preprocess(toTensors(numbers), toTexts(numbers));
    }
    const prepared = this.#ahead.current(step);
    return this.preprocess(toPolicyBatch(prepared, step, this.cameras), toTexts(prepared.batch));
  }

  /** Epochs seen after `steps` steps. */
  epochs(steps: number): number {
    return (steps * this.batchSize) / this.sampler.length;
  }

  async close(): Promise<void> {
    await this.cameras?.loader.close();
  }
}

/**
 * Batches of a dataset that is read file by file through a shuffle buffer. Steps must come in order; a run that begins elsewhere (on
 * resume) computes its position and gets the same batches as an uninterrupted run.
 */
export class StreamedData implements TrainingData {
  #batches: AsyncGenerator<Batch, never> | null = null;
  /** The step of the next batch that the generator gives. */
  #next = 0;
  readonly #ahead = new LookAhead<PreparedBatch>(({ frames }) => this.cameras?.loader.release(frames));

  constructor(
    readonly dataset: StreamingDataset,
    readonly batchSize: number,
    private readonly preprocess: Preprocess,
    private readonly cameras: StreamCameras | null = null,
  ) {}

  get framesPerEpoch(): number {
    return this.dataset.length;
  }

  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#ahead.isCurrent(step)) return;
    if (!this.#ahead.has(step)) this.#seek(step);
    const until = Math.min(step + (this.cameras?.prefetch ?? PREFETCH), last);
    while (this.#next <= until) this.#request(this.#next++);
    await this.#ahead.advance(step);
  }

  #seek(step: number): void {
    if (this.#batches !== null && this.#next === step) return;
    this.#ahead.clear();
    this.#batches = this.dataset.batches(this.batchSize, step);
    this.#next = step;
  }

  #request(step: number): void {
    // The generator answers its calls in their order.
    const prepared = this.#batches!.next().then(async ({ value: batch }): Promise<PreparedBatch> => {
      const frames = this.cameras === null ? {} : await this.cameras.loader.loadBatch(batch);
      return { batch, frames };
    });
    this.#ahead.add(step, prepared);
  }

  batch(step: number): TensorBatch {
    const prepared = this.#ahead.current(step);
    return this.preprocess(toPolicyBatch(prepared, step, this.cameras), toTexts(prepared.batch));
  }

  async close(): Promise<void> {
    await this.#batches?.return(undefined as never);
    await this.cameras?.loader.close();
  }
}

/** The cameras among a policy's inputs, by name, with the height and width the policy sees. */
export function cameraSizes(features: PolicyFeatures): Map<string, [height: number, width: number]> {
  const cameras = Object.entries(features).filter(([, { type }]) => type === 'VISUAL');
  return new Map(cameras.map(([key, { shape }]) => [key, [shape[1]!, shape[2]!]]));
}

/** Turns decoded frames into what a policy's preprocessor takes: float32 [B, 3, H, W] in [0, 1], at the policy's size. */
export class CameraBatches {
  readonly #sizes: Map<string, [number, number]>;
  readonly #transforms: ImageTransforms | null;

  /** @param transforms random changes in training; null for none */
  constructor(features: PolicyFeatures, transforms: ImageTransformsConfig | null, seed: number) {
    this.#sizes = cameraSizes(features);
    this.#transforms = transforms === null ? null : new ImageTransforms(transforms, seed);
  }

  get cameras(): string[] {
    return [...this.#sizes.keys()];
  }

  /** @param samples numbers of the samples in the run, which the random changes depend on */
  tensors(frames: Readonly<Record<string, LoadedFrames>>, samples: readonly number[]): TensorBatch {
    return Object.fromEntries(
      [...this.#sizes].map(([camera, size]) => [
        camera,
        this.#camera(camera, frames[camera]!, size, samples),
      ]),
    );
  }

  #camera(
    camera: string,
    { rgb, height, width }: LoadedFrames,
    size: [number, number],
    samples: readonly number[],
  ): Tensor {
    return scope(() =>
      noGrad(() => {
        const images = toFloat(fromTypedArray(rgb, [samples.length, height, width, 3]), 'hwc');
        const fitted = size[0] === height && size[1] === width ? images : resize(images, size);
        return this.#transforms?.enabled ? this.#transforms.apply(fitted, camera, samples) : fitted;
      }),
    );
  }
}
