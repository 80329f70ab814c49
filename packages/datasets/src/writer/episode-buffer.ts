import { CraftError } from '@craft-ft/torch';
import {
  type ColumnArray,
  columnDType,
  elementBytes,
  elements,
  integerRange,
  viewAs,
} from '../dataset/dtypes.js';

/** An image: RGB bytes, row by row, [height, width, 3]. */
export interface RgbImage {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/**
 * One value of a frame: a number (or boolean, bigint) for shape [1], else all elements row-major; a text for `string`; RGB bytes
 * or an {@link RgbImage} for `image` and `video`.
 */
export type FrameValue =
  | string
  | RgbImage
  | number
  | bigint
  | boolean
  | ArrayLike<number>
  | ArrayLike<bigint>
  | readonly boolean[];

/** What the buffer needs to know about a feature. */
interface BufferedFeature {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Receives a camera's frames. */
export interface ImageSink {
  add(rgb: Uint8Array | Uint8ClampedArray): void;
}

/**
 * The frames of the episode being recorded, checked one by one: numbers in growing typed arrays, texts in lists; images are checked
 * and passed on.
 */
export class EpisodeBuffer {
  readonly #where: string;
  readonly #features: readonly [string, BufferedFeature][];
  readonly #sinks: ReadonlyMap<string, ImageSink>;
  readonly #data = new Map<string, ColumnArray>();
  readonly #texts = new Map<string, string[]>();
  #tasks: string[] = [];

  /** @param sinks One for each feature of dtype image or video. */
  constructor(
    where: string,
    features: Readonly<Record<string, BufferedFeature>>,
    sinks: ReadonlyMap<string, ImageSink>,
  ) {
    this.#where = where;
    this.#features = Object.entries(features);
    this.#sinks = sinks;
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
    for (const [key, feature] of this.#features) {
      if (feature.dtype === 'string') this.#texts.set(key, []);
      else if (!this.#sinks.has(key)) this.#data.set(key, allocate(feature, 64));
    }
  }

  /**
   * Adds a frame. If any value is wrong, the buffer is left unchanged.
   *
   * @throws CraftError `DATASET_FRAME` naming the feature and the frame; errors of a sink are passed on.
   */
  add(frame: Readonly<Record<string, FrameValue>>, task: string): void {
    if (typeof task !== 'string' || task === '') throw this.#error('task', 'must be a non-empty text');
    const known = (key: string): boolean => this.#features.some(([name]) => name === key);
    for (const key of Object.keys(frame)) {
      if (!known(key)) {
        const keys = this.#features.map(([name]) => name).join(', ');
        throw this.#error(key, `is not a feature; they are ${keys}`);
      }
    }
    const texts: [string, string][] = [];
    const images: [ImageSink, Uint8Array | Uint8ClampedArray][] = [];
    for (const [key, feature] of this.#features) {
      const value = frame[key];
      if (value === undefined) throw this.#error(key, 'is missing');
      const sink = this.#sinks.get(key);
      if (sink !== undefined) images.push([sink, this.#image(key, feature, value)]);
      else if (feature.dtype === 'string') texts.push([key, this.#text(key, value)]);
      else this.#put(key, feature, value);
    }
    for (const [sink, rgb] of images) sink.add(rgb);
    for (const [key, text] of texts) this.#texts.get(key)!.push(text);
    this.#tasks.push(task);
  }

  /** The texts of a feature of dtype string. */
  texts(key: string): readonly string[] {
    return this.#texts.get(key)!;
  }

  /** Values of a feature, row-major `[length, ...shape]`; valid until the next frame. */
  values(key: string): ColumnArray {
    const feature = this.#features.find(([name]) => name === key)![1];
    return this.#data.get(key)!.subarray(0, this.length * elements(feature.shape));
  }

  #text(key: string, value: FrameValue): string {
    if (typeof value === 'string') return value;
    throw this.#error(key, `is a ${typeof value}, expected a text`);
  }

  #image(key: string, { shape }: BufferedFeature, value: FrameValue): Uint8Array | Uint8ClampedArray {
    const [height, width] = shape as [number, number];
    const sized = typeof value === 'object' && 'data' in value ? value : undefined;
    const data = sized?.data ?? value;
    if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
      throw this.#error(key, 'must be RGB bytes in a Uint8Array, or {data, width, height}');
    }
    if (sized !== undefined && (sized.width !== width || sized.height !== height)) {
      throw this.#error(
        key,
        `is ${sized.width}×${sized.height}, expected width × height = ${width}×${height}`,
      );
    }
    if (data.length !== height * width * 3) {
      throw this.#error(
        key,
        `has ${data.length} bytes, expected ${height * width * 3} (RGB, height ${height}, width ${width})`,
      );
    }
    return data;
  }

  #put(key: string, feature: BufferedFeature, value: FrameValue): void {
    const width = elements(feature.shape);
    if (typeof value === 'string' || (typeof value === 'object' && 'data' in value)) {
      throw this.#error(key, `must be ${width === 1 ? 'a number' : `${width} numbers`}`);
    }
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
