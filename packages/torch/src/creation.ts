import { DTYPES, type DType, dtypeCode, dtypeOfArray, type TypedArray } from './dtype.js';
import { CraftError } from './errors.js';
import * as ops from './generated/ops.js';
import { native } from './native.js';
import type { Scalar } from './operator.js';
import type { Generator } from './random.js';
import { type NestedArray, Tensor, wrap } from './tensor.js';

/** Options of every function that makes a tensor. */
export interface TensorOptions {
  /** Default float32, as `torch.get_default_dtype()`; each function says where it differs. */
  dtype?: DType;
  /** Default `cpu`. */
  device?: string;
  /** Default false. */
  requiresGrad?: boolean;
}

interface RandomOptions extends TensorOptions {
  generator?: Generator;
}

function finish(tensor: Tensor, options: TensorOptions): Tensor {
  return options.requiresGrad ? tensor.requiresGrad_() : tensor;
}

function shapeOf(data: NestedArray | TypedArray): number[] {
  const shape: number[] = [];
  for (let level: NestedArray | TypedArray = data; Array.isArray(level); level = level[0])
    shape.push(level.length);
  return shape;
}

function flattenInto(
  data: NestedArray,
  shape: number[],
  depth: number,
  out: (number | boolean | bigint)[],
): void {
  if (depth === shape.length) {
    if (Array.isArray(data)) throw ragged(shape);
    out.push(data);
    return;
  }
  if (!Array.isArray(data) || data.length !== shape[depth]) throw ragged(shape);
  for (const element of data) flattenInto(element, shape, depth + 1, out);
}

function ragged(shape: number[]): CraftError {
  return new CraftError(
    'SHAPE_INVALID',
    `the nested arrays are not rectangular: the first rows say [${shape}]`,
  );
}

function typed(values: (number | boolean | bigint)[], dtype: DType): TypedArray {
  if (dtype === 'int64') return BigInt64Array.from(values, wholeNumber);
  const array = new DTYPES[dtype].array(values.length);
  // A bool tensor may only ever hold the bytes 0 and 1.
  for (let i = 0; i < values.length; i++)
    array[i] = dtype === 'bool' ? (values[i] ? 1 : 0) : Number(values[i]);
  return array;
}

function wholeNumber(value: number | boolean | bigint): bigint {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    throw new CraftError('VALUE_INVALID', `int64 holds whole numbers, found ${value}`);
  }
  return BigInt(value);
}

/**
 * A tensor with a copy of `data`: a number, nested arrays, or a typed array (with `shape`, else one-dimensional).
 * Default dtype: bool for booleans, int64 for BigInts, else float32 (JavaScript cannot tell 1.0 from 1); a typed array's own.
 *
 * @throws CraftError SHAPE_INVALID where nested arrays are not rectangular or `shape` does not fit
 */
export function tensor(
  data: NestedArray | TypedArray,
  options: TensorOptions & { shape?: readonly number[] } = {},
): Tensor {
  const { dtype, device } = options;
  if (ArrayBuffer.isView(data)) {
    const view = fromTypedArray(data, options.shape ?? [data.length]);
    const copy = ops.to(view, { dtype: dtype ?? view.dtype, device, copy: true });
    view.dispose();
    return finish(copy, options);
  }
  const shape = shapeOf(data);
  const values: (number | boolean | bigint)[] = [];
  flattenInto(data, shape, 0, values);
  const guess: DType =
    typeof values[0] === 'boolean' ? 'bool' : typeof values[0] === 'bigint' ? 'int64' : 'float32';
  const wanted = dtype ?? guess;
  dtypeCode(wanted); // refuses an unknown one
  const view = fromTypedArray(typed(values, wanted), options.shape ?? shape, carrier(wanted));
  const copy = ops.to(view, { dtype: wanted, device, copy: true });
  view.dispose();
  return finish(copy, options);
}

// float16 and bfloat16 travel as float32; bool as the bytes that libtorch's bool is.
function carrier(dtype: DType): DType {
  return dtype === 'float16' || dtype === 'bfloat16' ? 'float32' : dtype;
}

/**
 * A tensor that shares a typed array's memory: writing to one changes the other. The array stays alive as long as
 * any tensor uses it. Works on SharedArrayBuffer too.
 *
 * @param dtype default the array's own; `bool` is allowed for Uint8Array
 */
export function fromTypedArray(
  array: TypedArray,
  shape: readonly number[] = [array.length],
  dtype?: DType,
): Tensor {
  const count = shape.reduce((product, n) => product * n, 1);
  if (count !== array.length || !shape.every((n) => Number.isInteger(n) && n >= 0)) {
    throw new CraftError(
      'SHAPE_INVALID',
      `shape [${shape}] has ${count} elements, the array ${array.length}`,
    );
  }
  const own = dtypeOfArray(array);
  const wanted = dtype ?? own;
  if (wanted !== own && DTYPES[wanted].bytes !== array.BYTES_PER_ELEMENT) {
    throw new CraftError('DTYPE_UNKNOWN', `a ${array.constructor.name} cannot be viewed as ${wanted}`);
  }
  return wrap(native.fromBuffer(array, shape, DTYPES[wanted].code));
}

export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(ops.zeros(shape, options), options);
}

export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(ops.ones(shape, options), options);
}

/** Uninitialised memory. */
export function empty(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(ops.empty(shape, options), options);
}

/** Filled with one value. Default dtype float32, bool for a boolean (PyTorch would take int64 for a whole number). */
export function full(shape: readonly number[], value: Scalar, options: TensorOptions = {}): Tensor {
  const dtype =
    options.dtype ?? (typeof value === 'boolean' ? 'bool' : typeof value === 'bigint' ? 'int64' : 'float32');
  return finish(ops.full(shape, value, { ...options, dtype }), options);
}

/** `start, start + step, …` below `end`; `arange(n)` counts from 0. Default dtype int64 where all three are whole, else float32. */
export function arange(end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, step?: number, options?: TensorOptions): Tensor;
export function arange(
  first: number,
  second?: number | TensorOptions,
  step = 1,
  last: TensorOptions = {},
): Tensor {
  const [start, end, options] = typeof second === 'number' ? [first, second, last] : [0, first, second ?? {}];
  const dtype = options.dtype ?? ([start, end, step].every(Number.isInteger) ? 'int64' : 'float32');
  return finish(ops.arange(start, end, step, { ...options, dtype }), options);
}

export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  return finish(ops.linspace(start, end, steps, options), options);
}

export function eye(rows: number, columns = rows, options: TensorOptions = {}): Tensor {
  return finish(ops.eye(rows, columns, options), options);
}

/** Uniform on [0, 1). */
export function rand(shape: readonly number[], options: RandomOptions = {}): Tensor {
  return finish(ops.rand(shape, options), options);
}

/** Standard normal. */
export function randn(shape: readonly number[], options: RandomOptions = {}): Tensor {
  return finish(ops.randn(shape, options), options);
}

/** Integers in `[low, high)`, int64 by default. */
export function randint(
  low: number,
  high: number,
  shape: readonly number[],
  options: RandomOptions = {},
): Tensor {
  return finish(ops.randint(low, high, shape, { ...options, dtype: options.dtype ?? 'int64' }), options);
}

/** A random permutation of `0 … n−1`, int64. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  return finish(ops.randperm(n, { ...options, dtype: options.dtype ?? 'int64' }), options);
}

/** Whether a value is a tensor. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}
