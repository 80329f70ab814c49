import { CraftError } from '@craft-ft/torch';
import { type ColumnArray, columnDType, elementBytes, elements, integerRange, viewAs } from './dtypes.js';

/** One value of a frame: a number (or boolean, bigint) for shape [1], else all elements row-major. */
export type FrameValue =
  | number
  | bigint
  | boolean
  | ArrayLike<number>
  | ArrayLike<bigint>
  | readonly boolean[];

/** What the buffer needs to know of a feature. */
export interface BufferedFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The frames of the episode being recorded, checked one by one, in growing typed arrays. */
export class EpisodeBuffer {
  readonly #where: string;
  readonly #features: readonly [string, BufferedFeature][];
  readonly #data = new Map<string, ColumnArray>();
  #tasks: string[] = [];

  constructor(where: string, features: Readonly<Record<string, BufferedFeature>>) {
    this.#where = where;
    this.#features = Object.entries(features);
    this.clear();
  }

  /** Number of frames. */
  get length(): number {
    return this.#tasks.length;
  }

  /** The task of every frame. */
  get tasks(): readonly string[] {
    return this.#tasks;
  }

  clear(): void {
    this.#tasks = [];
    for (const [key, feature] of this.#features) this.#data.set(key, allocate(feature, 64));
  }

  /**
   * Adds a frame; a frame with any wrong value leaves the buffer as it was.
   *
   * @throws CraftError `DATASET_FRAME` naming the feature and the frame.
   */
  add(frame: Readonly<Record<string, FrameValue>>, task: string): void {
    if (typeof task !== 'string' || task === '') throw this.#error('task', 'must be a non-empty text');
    for (const key of Object.keys(frame)) {
      if (!this.#data.has(key))
        throw this.#error(key, `is not a feature; they are ${[...this.#data.keys()].join(', ')}`);
    }
    for (const [key, feature] of this.#features) {
      const value = frame[key];
      if (value === undefined) throw this.#error(key, 'is missing');
      this.#put(key, feature, value);
    }
    this.#tasks.push(task);
  }

  /** Values of a feature, row-major `[length, ...shape]`; valid until the next frame. */
  values(key: string): ColumnArray {
    const feature = this.#features.find(([name]) => name === key)![1];
    return this.#data.get(key)!.subarray(0, this.length * elements(feature.shape));
  }

  #put(key: string, feature: BufferedFeature, value: FrameValue): void {
    const width = elements(feature.shape);
    const list: ArrayLike<number | bigint | boolean> = typeof value === 'object' ? value : [value];
    if (list.length !== width) {
      throw this.#error(
        key,
        `has ${list.length} values, expected ${width} (shape [${feature.shape.join(', ')}])`,
      );
    }
    const data = this.#grown(key, feature, (this.length + 1) * width);
    for (let i = 0; i < width; i++) {
      const element = this.#checked(key, feature.dtype, list[i]!);
      if (data instanceof BigInt64Array) data[this.length * width + i] = BigInt(element);
      else data[this.length * width + i] = Number(element);
    }
  }

  #checked(key: string, dtype: string, value: number | bigint | boolean): number | bigint | boolean {
    if (dtype === 'bool') {
      if (value === true || value === false || value === 0 || value === 1) return value;
      throw this.#error(key, `holds ${value}, expected a boolean`);
    }
    const range = integerRange[dtype];
    if (range === undefined) {
      if (typeof value === 'number' && Number.isFinite(dtype === 'float32' ? Math.fround(value) : value))
        return value;
      throw this.#error(key, `holds ${value}, expected a finite ${dtype}`);
    }
    const whole = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value));
    if (whole && BigInt(value) >= range[0] && BigInt(value) <= range[1]) return value;
    throw this.#error(key, `holds ${value}, expected an ${dtype}`);
  }

  #grown(key: string, feature: BufferedFeature, needed: number): ColumnArray {
    const data = this.#data.get(key)!;
    if (needed <= data.length) return data;
    const larger = allocate(feature, 2 * (this.length + 1));
    larger.set(data as never);
    this.#data.set(key, larger);
    return larger;
  }

  #error(key: string, what: string): CraftError {
    return new CraftError('DATASET_FRAME', `${this.#where}: frame ${this.length}: "${key}" ${what}`);
  }
}

function allocate({ dtype, shape }: BufferedFeature, frames: number): ColumnArray {
  const type = columnDType(dtype)!;
  return viewAs(type, new ArrayBuffer(frames * elements(shape) * elementBytes[type]));
}
