import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';
import { FolderCache, fetchTokenizer, isBuiltin, tokenizerFolder } from '../../tokenizers/locate.js';
import type { Bpe, PieceMode } from './bpe.js';
import { type FastSettings, readFastFolder, writeFastFolder } from './files.js';
import { coefficientText, trainFastVocabulary } from './training.js';

/** Actions of one chunk: `[T][D]`, or all values row-major together with `[T, D]`. */
export type ActionChunk = ArrayLike<number> | readonly (readonly number[])[];

/** How a FAST tokeniser is trained. */
interface FastFitOptions {
  /** Tokens of the vocabulary. Default 1024. */
  vocabSize?: number;
  /** Scale of the coefficients before rounding: a larger one is finer and needs more tokens. Default 10. */
  scale?: number;
  /** Reproduce upstream's vocabulary exactly, which may lack coefficients in its range. Default false. */
  upstream?: boolean;
  /** `bytes` is FAST's; `plain` leaves out the pieces and byte characters. Default `bytes`. */
  mode?: PieceMode;
  /** Called with the tokens learned so far. */
  onProgress?: (size: number) => void;
}

const cache = new FolderCache<FastTokenizer>();

/**
 * The FAST action tokeniser (Pertsch et al., 2025), as `physical-intelligence/fast`: the DCT of each action dimension over time,
 * times `scale`, rounded, laid out frequency by frequency, each coefficient a character, and byte-pair encoding over those.
 * Actions should be normalised to about [-1, 1].
 *
 * @example
 * ```ts
 * const tokenizer = FastTokenizer.fit(chunks, [50, 14]);
 * const ids = tokenizer.encode(chunk, [50, 14]);
 * tokenizer.decode(ids, 50, 14); // the chunk, to within rounding of its coefficients
 * ```
 */
export class FastTokenizer {
  readonly bpe: Bpe;
  readonly settings: Readonly<FastSettings>;
  readonly #transforms = new Map<number, Dct>();

  constructor(bpe: Bpe, settings: FastSettings) {
    this.bpe = bpe;
    this.settings = settings;
  }

  /**
   * Loads a tokeniser from a folder or, if necessary, from the Hub: `lerobot/fast-action-tokenizer`, `physical-intelligence/fast`,
   * or one trained here.
   *
   * @throws CraftError `TOKENIZER_MISSING`, `TOKENIZER_INVALID`, `TOKENIZER_NAME` for a built-in one, and `HUB_…`
   */
  static async load(name: string): Promise<FastTokenizer> {
    await fetchTokenizer(name);
    return FastTokenizer.loadSync(name);
  }

  /** As `load`, but only from files on this machine. The same files give the same object. */
  static loadSync(name: string): FastTokenizer {
    if (isBuiltin(name)) {
      const remedy = 'train a FAST one with craft tokenizer train, or take lerobot/fast-action-tokenizer';
      throw new CraftError('TOKENIZER_NAME', `tokenizer ${name}: is a text tokenizer; ${remedy}`);
    }
    const folder = tokenizerFolder(name);
    return cache.get(folder, () => {
      const { bpe, settings } = readFastFolder(folder);
      return new FastTokenizer(bpe, settings);
    });
  }

  /**
   * Trains a tokeniser on chunks of one shape.
   *
   * @param shape `[T, D]` of every chunk
   * @throws CraftError `FAST_VOCAB_TOO_SMALL`, `FAST_INPUT` for no chunks, wrong shapes, or values that are not finite
   */
  static fit(
    chunks: readonly ActionChunk[],
    shape: readonly [number, number],
    options: FastFitOptions = {},
  ): FastTokenizer {
    const { vocabSize = 1024, scale = 10, upstream = false, mode = 'bytes', onProgress } = options;
    if (chunks.length === 0) throw new CraftError('FAST_INPUT', 'no action chunks to train a tokenizer on');
    const dct = new Dct(shape[0]);
    const coefficients = chunks.map((chunk) => quantize(chunk, shape, dct, scale));
    const { bpe, minToken, maxToken } = trainFastVocabulary(coefficients, {
      vocabSize,
      mode,
      upstream,
      onProgress,
    });
    return new FastTokenizer(bpe, {
      scale,
      vocabSize,
      minToken,
      maxToken: upstream ? null : maxToken,
      timeHorizon: shape[0],
      actionDim: shape[1],
    });
  }

  /** Number of tokens; every id is below it. */
  get vocabSize(): number {
    return this.bpe.size;
  }

  /** Chunk length that it was trained for; null if any. */
  get timeHorizon(): number | null {
    return this.settings.timeHorizon;
  }

  /** Number of action dimensions that it was trained for; null if any. */
  get actionDim(): number | null {
    return this.settings.actionDim;
  }

  /**
   * Writes `tokenizer.json`, `processor_config.json`, `tokenizer_config.json`, `special_tokens_map.json` and `metadata.json`.
   *
   * @param folder an existing folder
   * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
   */
  save(folder: string, metadata: PlainObject = {}): void {
    writeFastFolder(folder, this.bpe, this.settings, metadata);
  }

  /**
   * Ids of one chunk.
   *
   * @param shape `[T, D]`; optional for nested arrays
   * @throws CraftError `FAST_INPUT`
   */
  encode(chunk: ActionChunk, shape: readonly [number, number] = shapeOf(chunk)): number[] {
    return this.encodeCoefficients(this.coefficients(chunk, shape));
  }

  /** The rounded coefficients of a chunk, `[T, D]` row-major, row by frequency. */
  coefficients(chunk: ActionChunk, shape: readonly [number, number] = shapeOf(chunk)): Int32Array {
    return quantize(chunk, shape, this.#dct(shape[0]), this.settings.scale);
  }

  /** Encodes coefficients. Those outside the range of a tokeniser trained here are clamped to it. */
  encodeCoefficients(coefficients: Int32Array): number[] {
    const { minToken, maxToken } = this.settings;
    const fitting = maxToken === null ? coefficients : coefficients.map((value) => Math.min(value, maxToken));
    return this.bpe.encode(coefficientText(fitting, minToken));
  }

  /** Decodes ids to coefficients, however many there are. Unknown ids are skipped. */
  decodeCoefficients(ids: readonly number[]): Int32Array {
    const { minToken } = this.settings;
    return Int32Array.from(
      Array.from(this.bpe.decode(ids), (character) => character.codePointAt(0)! + minToken),
    );
  }

  /**
   * Decodes ids to actions `[T][D]` as LeRobot does: extra coefficients are dropped, missing ones are 0. A negative id, which no
   * tokeniser has, makes the whole chunk 0.
   */
  decode(ids: readonly number[], timeHorizon: number, actionDim: number): number[][] {
    const coefficients = new Int32Array(timeHorizon * actionDim);
    if (!ids.some((id) => id < 0)) {
      coefficients.set(this.decodeCoefficients(ids).subarray(0, coefficients.length));
    }
    return this.#actions(coefficients, timeHorizon, actionDim);
  }

  /** As `decode`, but ids that do not give exactly T · D coefficients make the whole chunk 0, as upstream. */
  decodeStrict(ids: readonly number[], timeHorizon: number, actionDim: number): number[][] {
    const length = timeHorizon * actionDim;
    const coefficients = ids.some((id) => id < 0) ? null : this.decodeCoefficients(ids);
    const right = coefficients?.length === length ? coefficients : new Int32Array(length);
    return this.#actions(right, timeHorizon, actionDim);
  }

  #actions(coefficients: Int32Array, timeHorizon: number, actionDim: number): number[][] {
    const scaled = Float64Array.from(coefficients, (value) => value / this.settings.scale);
    const values = this.#dct(timeHorizon).inverse(scaled, actionDim);
    return Array.from({ length: timeHorizon }, (_, t) => [
      ...values.subarray(t * actionDim, (t + 1) * actionDim),
    ]);
  }

  #dct(length: number): Dct {
    const known = this.#transforms.get(length) ?? new Dct(length);
    this.#transforms.set(length, known);
    return known;
  }
}

function shapeOf(chunk: ActionChunk): [number, number] {
  const first = chunk[0];
  if (typeof first === 'object') return [chunk.length, first.length];
  throw new CraftError('FAST_INPUT', 'a flat chunk of actions needs its shape [T, D]');
}

function quantize(
  chunk: ActionChunk,
  [steps, width]: readonly [number, number],
  dct: Dct,
  scale: number,
): Int32Array {
  const nested = typeof chunk[0] === 'object';
  const flat = nested ? (chunk as readonly (readonly number[])[]).flat() : (chunk as ArrayLike<number>);
  if (flat.length !== steps * width || flat.length === 0) {
    throw new CraftError(
      'FAST_INPUT',
      `a chunk has ${flat.length} values, expected ${steps} steps of ${width} dimensions`,
    );
  }
  return Int32Array.from(dct.forward(flat, width), (value) => {
    if (Number.isFinite(value)) return roundHalfEven(Math.min(Math.max(value * scale, -1e9), 1e9));
    throw new CraftError('FAST_INPUT', 'a chunk of actions has a value that is NaN or infinite');
  });
}

/**
 * The orthonormal discrete cosine transform DCT-II of a fixed length and its inverse, in double precision: scipy's
 * `dct(x, axis=0, norm='ortho')`. Chunks are short, so it is a product with a table.
 */
export class Dct {
  /** `[length, length]`: row k is the basis function of frequency k. */
  readonly #basis: Float64Array;

  constructor(readonly length: number) {
    this.#basis = new Float64Array(length * length);
    for (let k = 0; k < length; k++) {
      const scale = Math.sqrt((k === 0 ? 1 : 2) / length);
      for (let n = 0; n < length; n++) {
        // The angle is reduced in whole numbers first: cos of a large angle would lose digits.
        const turns = ((2 * n + 1) * k) % (4 * length);
        this.#basis[k * length + n] = scale * Math.cos((Math.PI * turns) / (2 * length));
      }
    }
  }

  /** @param values `[length, width]`, row-major; each column is transformed. */
  forward(values: ArrayLike<number>, width: number): Float64Array {
    return this.#multiply(values, width, (k, n) => k * this.length + n);
  }

  /** The inverse of `forward`. */
  inverse(coefficients: ArrayLike<number>, width: number): Float64Array {
    return this.#multiply(coefficients, width, (n, k) => k * this.length + n);
  }

  #multiply(
    values: ArrayLike<number>,
    width: number,
    at: (row: number, inner: number) => number,
  ): Float64Array {
    const { length } = this;
    const result = new Float64Array(length * width);
    for (let row = 0; row < length; row++) {
      for (let inner = 0; inner < length; inner++) {
        const factor = this.#basis[at(row, inner)]!;
        for (let d = 0; d < width; d++) result[row * width + d]! += factor * values[inner * width + d]!;
      }
    }
    return result;
  }
}

/** Rounds to the nearest whole number, halves to the even one, as numpy does. */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
