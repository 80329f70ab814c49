import { DTYPES, type DType, dtypeCode, dtypeOfCode, type TypedArray } from './dtype.js';
import { TensorDisposedError } from './errors.js';
import { type Handle, native, operator } from './native.js';
import { adopt, disposeTensor, keepTensor, type Scope, scope } from './scope.js';

const TO = operator('aten::to', 'dtype_layout');

/** Nested arrays of numbers, as `tolist()` returns them; int64 beyond ±2^53 as BigInt. */
export type NestedArray = number | boolean | bigint | NestedArray[];

/** Where and how `Tensor.to` should move a tensor; what is absent stays. */
export interface ToOptions {
  dtype?: DType;
  /** `cpu`, `cuda`, `cuda:1`, `mps`… */
  device?: string;
  /** Copy even where nothing changes. Default false. */
  copy?: boolean;
}

/**
 * A libtorch tensor. Operators are methods under ATen's names in camelCase, in-place ones with a trailing underscore:
 * positional arguments as in ATen, keyword-only ones in a trailing options object. See `scope` for who frees it. Operators, indexing and
 * `backward` are built on this class, so their files add their methods to it (`addMethods`).
 *
 * @example
 * ```ts
 * const x = torch.tensor([[1, 2], [3, 4]]);
 * x.matmul(x).sum([0]).tolist(); // [22, 32]
 * ```
 */
export class Tensor {
  /** Handle in the addon; negative after disposal. */
  h: Handle;
  /** The scope that frees this tensor; null when it lives on its own. Kept by scope.ts. */
  scope: Scope | null = null;
  /** Bytes reported to the garbage collector; negative when not watched. Kept by scope.ts. */
  watchedBytes = -1;

  /** Use `torch.tensor`, `torch.zeros`… instead. */
  constructor(handle: Handle) {
    this.h = handle;
    adopt(this);
  }

  get isTensor(): true {
    return true;
  }

  get shape(): number[] {
    return native.shape(this.h);
  }

  /** Length of one dimension; negative ones count from the end. */
  size(dim: number): number {
    return native.size(this.h, dim);
  }

  get strides(): number[] {
    return native.strides(this.h);
  }

  get ndim(): number {
    return native.dim(this.h);
  }

  get numel(): number {
    return native.numel(this.h);
  }

  get dtype(): DType {
    return dtypeOfCode(native.dtype(this.h));
  }

  get isFloatingPoint(): boolean {
    return DTYPES[this.dtype].floating;
  }

  get device(): string {
    return native.device(this.h);
  }

  get isContiguous(): boolean {
    return native.isContiguous(this.h);
  }

  get requiresGrad(): boolean {
    return native.requiresGrad(this.h);
  }

  /** Whether autograd accumulates into `grad` here (a tensor that no recorded operation made). */
  get isLeaf(): boolean {
    return native.isLeaf(this.h);
  }

  requiresGrad_(on = true): this {
    native.setRequiresGrad(this.h, on);
    return this;
  }

  /** The accumulated gradient, or null. Each read is a new handle to the same memory. */
  get grad(): Tensor | null {
    const gradient = native.getGrad(this.h);
    return gradient === undefined ? null : wrap(gradient);
  }

  set grad(gradient: Tensor | null) {
    native.setGrad(this.h, gradient === null ? null : gradient.h);
  }

  /** Replaces the tensor's memory by another's and keeps its identity (`tensor.data = …` in PyTorch). */
  setData_(data: Tensor): this {
    native.setData(this.h, data.h);
    return this;
  }

  /** The value of a tensor of one element; int64 beyond ±2^53 loses digits (use `toTypedArray`). */
  item(): number {
    return Number(native.item(this.h));
  }

  /**
   * A copy of the elements in row-major order: Float32Array for float32, float16 and bfloat16, BigInt64Array for int64,
   * Uint8Array for bool, else the array of the same name.
   */
  toTypedArray(): TypedArray {
    const dtype = this.dtype;
    const narrow = dtype === 'float16' || dtype === 'bfloat16';
    const source =
      narrow || this.device !== 'cpu' ? this.to({ device: 'cpu', dtype: narrow ? 'float32' : dtype }) : this;
    const array = new DTYPES[dtype].array(this.numel);
    native.copyOut(source.h, new Uint8Array(array.buffer));
    if (source !== this) source.dispose();
    return array;
  }

  /** The elements as nested arrays; booleans for bool, int64 as numbers where safe and BigInt beyond. */
  tolist(): NestedArray {
    const array = this.toTypedArray();
    const isBool = this.dtype === 'bool';
    let position = 0;
    const next = (): NestedArray => {
      const value = array[position++];
      if (isBool) return value !== 0;
      if (typeof value !== 'bigint') return value;
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    };
    const build = (shape: number[]): NestedArray =>
      shape.length === 0 ? next() : Array.from({ length: shape[0] }, () => build(shape.slice(1)));
    return build(this.shape);
  }

  /**
   * This tensor with another dtype or on another device; itself (a new handle) where nothing changes.
   * @param target a dtype (`'float64'`), a device (`'cuda:0'`), or both as an object
   */
  to(target: DType | ToOptions | (string & {})): Tensor {
    const { dtype, device, copy }: ToOptions =
      typeof target !== 'string'
        ? target
        : target in DTYPES
          ? { dtype: target as DType }
          : { device: target };
    return wrap(native.call(TO, this.h, dtypeCode(dtype), undefined, device, undefined, undefined, copy));
  }

  /** Takes the tensor out of every scope; it then lives until `dispose()` or garbage collection. */
  keep(): this {
    keepTensor(this);
    return this;
  }

  get disposed(): boolean {
    return this.h < 0;
  }

  /** Frees this handle now; the memory goes when nothing else (a view, autograd) needs it. Disposing twice is harmless. */
  dispose(): void {
    disposeTensor(this);
  }

  [Symbol.dispose](): void {
    disposeTensor(this);
  }

  toString(): string {
    return this.disposed ? 'Tensor(disposed)' : format(this);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** A Tensor around a result of the addon. */
export function wrap(handle: unknown): Tensor {
  if (typeof handle !== 'number')
    throw new TensorDisposedError('libtorch returned no tensor where one was expected');
  return new Tensor(handle);
}

/** Tensors around a list of results. */
export function wrapAll(results: unknown): Tensor[] {
  return (results as Handle[]).map((handle) => new Tensor(handle));
}

/** Adds methods to every tensor; whoever calls it declares them in `interface Tensor`. */
export function addMethods(methods: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(methods))
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}

const EDGE = 3;
const THRESHOLD = 1000;

function number(value: NestedArray): string {
  if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(4) : value.toFixed(4);
}

function rows(value: NestedArray, summarise: boolean, indent: string): string {
  if (!Array.isArray(value)) return number(value);
  const parts = value.map((element) => rows(element, summarise, `${indent} `));
  const shown =
    summarise && parts.length > 2 * EDGE ? [...parts.slice(0, EDGE), '...', ...parts.slice(-EDGE)] : parts;
  return `[${shown.join(Array.isArray(value[0]) ? `,\n${indent} ` : ', ')}]`;
}

// Only the corners of a large tensor are read: printing must not copy the whole tensor.
function corners(tensor: Tensor): Tensor {
  let view = tensor.detach();
  for (let dim = 0; dim < tensor.ndim; dim++) {
    const length = tensor.size(dim);
    if (length <= 2 * EDGE + 1) continue;
    // One element more than is shown marks that something was left out.
    const head = view.narrow(dim, 0, EDGE + 1);
    const tail = view.narrow(dim, length - EDGE, EDGE);
    view = concatenate(head, tail, dim);
  }
  return view;
}

function concatenate(head: Tensor, tail: Tensor, dim: number): Tensor {
  const length = head.size(dim) + tail.size(dim);
  const shape = head.shape.map((n, i) => (i === dim ? length : n));
  const whole = head.expand(head.shape).clone().resize_(shape);
  whole.narrow(dim, 0, head.size(dim)).copy_(head);
  whole.narrow(dim, head.size(dim), tail.size(dim)).copy_(tail);
  return whole;
}

/** PyTorch-like text: `tensor([[1, 2], [3, 4]], float32)`, the middle of more than 1,000 elements left out. */
function format(tensor: Tensor): string {
  const summarise = tensor.numel > THRESHOLD;
  const values = scope(() => (summarise ? corners(tensor) : tensor.detach()).tolist());
  const body = rows(values, summarise, '       ');
  const shape = summarise ? `, [${tensor.shape}]` : '';
  const device = tensor.device === 'cpu' ? '' : `, ${tensor.device}`;
  return `tensor(${body}, ${tensor.dtype}${shape}${device}${tensor.requiresGrad ? ', requiresGrad' : ''})`;
}
