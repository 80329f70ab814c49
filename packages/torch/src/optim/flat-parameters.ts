import { zeros } from '../creation.js';
import type { DType } from '../dtype.js';
import { CraftError } from '../errors.js';
import { noGrad } from '../grad-mode.js';
import { native } from '../native.js';
import type { Parameter } from '../nn/parameter.js';
import { handles } from '../operator.js';
import type { Tensor } from '../tensor.js';

/** Parameters that share optimiser settings; what is absent comes from the optimiser. */
export interface ParameterGroup {
  parameters: readonly (readonly [name: string, parameter: Parameter])[];
  lr?: number;
  weightDecay?: number;
}

/** Where one parameter lies in the flat memory. */
interface FlatEntry {
  readonly name: string;
  readonly parameter: Parameter;
  readonly shape: readonly number[];
  /** First element in a flat buffer of the whole layout (gradient, moments). */
  readonly offset: number;
  /** Number of elements. */
  readonly length: number;
  /** Where the next parameter may begin; from the parameter's own end to here a buffer is zero. */
  readonly end: number;
  /** Index of its group. */
  readonly group: number;
  /** Index of its segment. */
  readonly segment: number;
}

/** The parameters of one dtype: a range of the layout with its own memory. */
export interface FlatSegment {
  readonly dtype: DType;
  /** First element in the layout. */
  readonly offset: number;
  readonly length: number;
  /** The parameters' values: `[length]`. */
  readonly data: Tensor;
}

// Parameters start at multiples of a cache line, so that vector kernels see aligned rows; the gaps stay zero.
const ALIGNMENT = 16;
const aligned = (length: number) => Math.ceil(length / ALIGNMENT) * ALIGNMENT;

// These dtypes can be mixed: their gradients and moments are all float32.
const MIXABLE: readonly string[] = ['float32', 'bfloat16', 'float16'];

/**
 * Puts the parameters of a model into contiguous memory, of which they become views. Everything that then goes over all
 * parameters (norms, dot products, an optimiser's update) is one sweep over memory, and gradients, moments and other buffers
 * of the same layout need no per-tensor bookkeeping.
 *
 * Parameters of several dtypes (bfloat16 beside float32) lie in one segment each; the layout runs through the segments one
 * after another, so that gradients and moments, which are float32 for all of them, are still single buffers.
 *
 * @throws CraftError PARAMETERS_INVALID where there are none, one comes twice, devices differ, or dtypes cannot be mixed
 */
export class FlatParameters {
  /** In the order given, which is PyTorch's numbering of parameters. */
  readonly entries: readonly FlatEntry[];
  /** Indices of the entries as they follow each other in memory; as given, but for parameters of several dtypes. */
  readonly order: readonly number[];
  readonly groups: readonly ParameterGroup[];
  readonly segments: readonly FlatSegment[];
  /** Elements of a buffer of this layout. */
  readonly size: number;
  /** Dtype of gradients and moments: float64 for float64 parameters, float32 for all others. */
  readonly stateDtype: DType;
  readonly device: string;
  readonly #handles: Int32Array;
  readonly #pointers: BigInt64Array;

  constructor(groups: readonly ParameterGroup[]) {
    this.groups = groups;
    const given = groups.flatMap((group, index) =>
      group.parameters.map(([name, parameter]) => ({
        name,
        parameter,
        group: index,
        dtype: parameter.dtype,
      })),
    );
    checkParameters(given);
    this.device = given[0].parameter.device;
    this.stateDtype = given[0].dtype === 'float64' ? 'float64' : 'float32';
    const dtypes = [...new Set(given.map(({ dtype }) => dtype))];
    const offsets = new Array<number>(given.length);
    const order: number[] = [];
    let end = 0;
    this.segments = dtypes.map((dtype) => {
      const offset = end;
      given.forEach((entry, i) => {
        if (entry.dtype !== dtype) return;
        order.push(i);
        offsets[i] = end;
        end += aligned(entry.parameter.numel);
      });
      const data = zeros([end - offset], { dtype, device: this.device }).keep();
      return { dtype, offset, length: end - offset, data };
    });
    this.size = end;
    this.order = order;
    this.entries = given.map(({ name, parameter, group, dtype }, i) => ({
      name,
      parameter,
      shape: parameter.shape,
      offset: offsets[i],
      length: parameter.numel,
      end: offsets[i] + aligned(parameter.numel),
      group,
      segment: dtypes.indexOf(dtype),
    }));
    noGrad(() => {
      for (const entry of this.entries) {
        const { data, offset } = this.segments[entry.segment];
        const view = shapedView(data, entry.offset - offset, entry);
        view.copy_(entry.parameter);
        entry.parameter.setData_(view);
        view.dispose();
      }
    });
    this.#handles = Int32Array.from(this.entries, ({ parameter }) => parameter.h);
    this.#pointers = new BigInt64Array(this.#handles.length);
    native.dataPointers(this.#handles, this.#pointers);
  }

  /**
   * Makes sure that every parameter still is a view of this memory. Backward passes and updates ask, at negligible cost; otherwise the
   * optimiser would update memory that a moved parameter no longer uses.
   *
   * @throws CraftError PARAMETERS_MOVED
   */
  checkInPlace(): void {
    const moved = native.firstMoved(this.#handles, this.#pointers);
    if (moved < 0) return;
    throw new CraftError(
      'PARAMETERS_MOVED',
      `parameter ${this.entries[moved].name} was freed, or moved to another device, dtype or memory, after it was given to the ` +
        'optimiser; move modules first and make FlatParameters and the optimiser afterwards',
    );
  }

  /**
   * The values of every parameter where all have one dtype: `[size]`.
   *
   * @throws CraftError PARAMETERS_MIXED where they have several; `segments` has them all
   */
  get data(): Tensor {
    if (this.segments.length === 1) return this.segments[0].data;
    const dtypes = this.segments.map(({ dtype }) => dtype).join(' and ');
    throw new CraftError('PARAMETERS_MIXED', `the parameters are ${dtypes}: use \`segments\`, one per dtype`);
  }

  /** A zeroed buffer of the same layout and device, of `stateDtype` unless told otherwise. */
  zeros(dtype = this.stateDtype): Tensor {
    return zeros([this.size], { dtype, device: this.device }).keep();
  }

  /** The part of a buffer of this layout that belongs to one parameter, in its shape. */
  view(buffer: Tensor, entry: FlatEntry): Tensor {
    return shapedView(buffer, entry.offset, entry);
  }

  /** Memory for one backward pass; a method that takes two gradients makes two. */
  gradBuffer(): GradBuffer {
    return new GradBuffer(this);
  }
}

function shapedView(buffer: Tensor, offset: number, { length, shape }: FlatEntry): Tensor {
  const flat = buffer.narrow(0, offset, length);
  const shaped = flat.view(shape);
  flat.dispose();
  return shaped;
}

function checkParameters(given: readonly { name: string; parameter: Parameter; dtype: DType }[]): void {
  if (given.length === 0) throw new CraftError('PARAMETERS_INVALID', 'there are no parameters to optimise');
  const [first] = given;
  const seen = new Set<Parameter>();
  for (const { name, parameter, dtype } of given) {
    if (seen.has(parameter)) throw new CraftError('PARAMETERS_INVALID', `parameter ${name} is given twice`);
    seen.add(parameter);
    const mixable = MIXABLE.includes(dtype) && MIXABLE.includes(first.dtype);
    for (const [property, own, others] of [
      ['dtype', dtype, first.dtype],
      ['device', parameter.device, first.parameter.device],
    ]) {
      if (own === others || (property === 'dtype' && mixable)) continue;
      throw new CraftError(
        'PARAMETERS_INVALID',
        `parameter ${name} has ${property} ${own}, ${first.name} has ${others}: they cannot be updated together`,
      );
    }
  }
}

/**
 * Caller-owned gradient memory in the layout of a `FlatParameters`. A backward pass inside `collect` adds into it in place, so
 * that no gradient is ever cloned, and marks which parameters a gradient reached at all: the others are to be left alone
 * by the optimiser, as PyTorch leaves a parameter whose gradient is None.
 *
 * Gradients of bfloat16 and float16 parameters accumulate in float32: what several backward passes (gradient accumulation)
 * add up is not rounded in between, as it is in PyTorch, where a gradient has its parameter's dtype.
 */
export class GradBuffer {
  /** `[size]` of the layout's `stateDtype`, zero where nothing was accumulated. */
  readonly flat: Tensor;
  /** Per entry of the layout: whether a backward pass reached it since the last `zero()`. */
  readonly reached: boolean[];
  readonly #id: number;
  readonly #views: Tensor[];

  constructor(readonly parameters: FlatParameters) {
    const { entries } = parameters;
    this.flat = parameters.zeros();
    this.#views = entries.map((entry) => parameters.view(this.flat, entry).keep());
    this.reached = entries.map(() => false);
    this.#id = native.gradBufferCreate(
      handles(entries.map((entry) => entry.parameter)),
      handles(this.#views),
    );
  }

  /** The gradient of one parameter, in its shape (a view). */
  view(entry: number): Tensor {
    return this.#views[entry];
  }

  /** Forgets what was accumulated. */
  zero(): void {
    this.flat.zero_();
    this.reached.fill(false);
  }

  /**
   * Runs `body`, whose backward passes accumulate into this buffer. Synchronous functions only; buffers do not nest.
   *
   * @throws CraftError PARAMETERS_MOVED, see `FlatParameters.checkInPlace`
   */
  collect<T>(body: () => T): T {
    this.parameters.checkInPlace();
    native.gradBufferBegin(this.#id);
    try {
      const result = body();
      if (result instanceof Promise) throw new Error('collect() needs a synchronous function');
      return result;
    } finally {
      native.gradBufferEnd(this.#id).forEach((reached, i) => {
        if (reached) this.reached[i] = true;
      });
    }
  }

  dispose(): void {
    native.gradBufferRemove(this.#id);
    this.flat.dispose();
    for (const view of this.#views) view.dispose();
  }
}
