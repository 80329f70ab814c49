import { noGrad } from '../autograd.js';
import { zeros } from '../creation.js';
import { CraftError } from '../errors.js';
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
export interface FlatEntry {
  readonly name: string;
  readonly parameter: Parameter;
  readonly shape: readonly number[];
  /** First element in the flat buffer. */
  readonly offset: number;
  /** Number of elements. */
  readonly length: number;
  /** Index of its group. */
  readonly group: number;
}

// Parameters start at multiples of a cache line, so that vector kernels see aligned rows; the gaps stay zero.
const ALIGNMENT = 16;

/**
 * Puts the parameters of a model into one contiguous buffer, of which they become views. Everything that then goes over all
 * parameters (norms, dot products, an optimiser's update) is one sweep over memory, and gradients, moments and other buffers
 * of the same layout need no per-tensor bookkeeping.
 *
 * @throws CraftError PARAMETERS_INVALID where there are none, one comes twice, or dtypes or devices differ
 */
export class FlatParameters {
  readonly entries: readonly FlatEntry[];
  readonly groups: readonly ParameterGroup[];
  /** Every parameter: `[size]` */
  readonly data: Tensor;
  readonly size: number;

  constructor(groups: readonly ParameterGroup[]) {
    this.groups = groups;
    const entries: FlatEntry[] = [];
    let offset = 0;
    groups.forEach((group, index) => {
      for (const [name, parameter] of group.parameters) {
        const shape = parameter.shape;
        const length = parameter.numel;
        entries.push({ name, parameter, shape, offset, length, group: index });
        offset += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
      }
    });
    checkUniform(entries);
    this.entries = entries;
    this.size = offset;
    this.data = this.zeros();
    noGrad(() => {
      for (const entry of entries) {
        const view = this.view(this.data, entry);
        view.copy_(entry.parameter);
        entry.parameter.setData_(view);
        view.dispose();
      }
    });
  }

  /** A zeroed buffer of the same layout, dtype and device. */
  zeros(dtype = this.entries[0].parameter.dtype): Tensor {
    return zeros([this.size], { dtype, device: this.entries[0].parameter.device }).keep();
  }

  /** The part of a buffer of this layout that belongs to one parameter, in its shape. */
  view(buffer: Tensor, entry: FlatEntry): Tensor {
    const flat = buffer.narrow(0, entry.offset, entry.length);
    const shaped = flat.view(entry.shape);
    flat.dispose();
    return shaped;
  }

  /** Memory for one backward pass; a method that takes two gradients makes two. */
  gradBuffer(): GradBuffer {
    return new GradBuffer(this);
  }
}

function checkUniform(entries: readonly FlatEntry[]): void {
  if (entries.length === 0) throw new CraftError('PARAMETERS_INVALID', 'there are no parameters to optimise');
  const [first] = entries;
  const seen = new Set<Parameter>();
  for (const { name, parameter } of entries) {
    if (seen.has(parameter)) throw new CraftError('PARAMETERS_INVALID', `parameter ${name} is given twice`);
    seen.add(parameter);
    for (const property of ['dtype', 'device'] as const) {
      if (parameter[property] !== first.parameter[property]) {
        throw new CraftError(
          'PARAMETERS_INVALID',
          `parameter ${name} has ${property} ${parameter[property]}, ${first.name} has ${first.parameter[property]}`,
        );
      }
    }
  }
}

/**
 * Caller-owned gradient memory in the layout of a `FlatParameters`. A backward pass inside `collect` adds into it in place, so
 * that no gradient is ever cloned, and marks which parameters a gradient reached at all: the others are to be left alone
 * by the optimiser, as PyTorch leaves a parameter whose gradient is None.
 */
export class GradBuffer {
  /** `[size]`, zero where nothing was accumulated. */
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

  /** Runs `body`, whose backward passes accumulate into this buffer. Synchronous functions only; buffers do not nest. */
  collect<T>(body: () => T): T {
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
