import { CraftError } from './errors.js';
import * as ops from './generated/ops.js';
import { isScalar, type Scalar } from './operator.js';
import { scope } from './scope.js';
import { addMethods, Tensor } from './tensor.js';

declare module './tensor.js' {
  interface Tensor {
    /** Selects elements as PyTorch's `tensor[...]`: numbers, slices, null for a new axis, '...', index and mask tensors. */
    index(...indices: Index[]): Tensor;
    /** `tensor[indices] = value` in PyTorch. */
    indexPut_(indices: readonly Index[], value: Tensor | Scalar): this;
  }
}

/** A range of one dimension: `[start, stop)` by `step`, as Python's slice; negative ends count from the back. */
export interface Slice {
  readonly start?: number;
  readonly stop?: number;
  readonly step?: number;
}

/** One entry of PyTorch's `tensor[...]`. `null` makes a new axis, `'...'` skips to the last ones, `slice()` keeps a whole one. */
export type Index = number | Slice | null | '...' | Tensor;

/** Python's `start:stop:step`. `slice()` is `:`, `slice(3)` is `3:`. */
export function slice(start?: number, stop?: number, step?: number): Slice {
  return { start, stop, step };
}

function consumed(entry: Index): number {
  if (entry === null || entry === '...') return 0;
  return entry instanceof Tensor && entry.dtype === 'bool' ? entry.ndim : 1;
}

// Everything but tensors is a view; what remains is the list for aten::index, one entry a dimension.
function views(self: Tensor, entries: readonly Index[]): { view: Tensor; tensors: (Tensor | null)[] } {
  const given = entries.reduce<number>((sum, entry) => sum + consumed(entry), 0);
  if (given > self.ndim) {
    throw new CraftError('INDEX_INVALID', `too many indices: ${given} for a tensor of shape [${self.shape}]`);
  }
  if (entries.filter((entry) => entry === '...').length > 1) {
    throw new CraftError('INDEX_INVALID', "an index can hold '...' only once");
  }
  let view = self;
  let dim = 0;
  const tensors: (Tensor | null)[] = [];
  const pass = (count: number) => {
    for (let i = 0; i < count; i++) tensors.push(null);
    dim += count;
  };
  for (const entry of entries) {
    if (entry === '...') {
      pass(self.ndim - given);
    } else if (entry === null) {
      view = ops.unsqueeze(view, dim);
      pass(1);
    } else if (typeof entry === 'number') {
      view = ops.select(view, dim, entry);
    } else if (entry instanceof Tensor) {
      tensors.push(entry);
      dim += consumed(entry);
    } else {
      if (entry.start !== undefined || entry.stop !== undefined || entry.step !== undefined) {
        view = ops.slice(view, dim, entry.start ?? null, entry.stop ?? null, entry.step ?? 1);
      }
      pass(1);
    }
  }
  while (tensors.length > 0 && tensors[tensors.length - 1] === null) tensors.pop();
  return { view, tensors };
}

// `self[...entries]`: a view where no entry is a tensor, else a copy.
function index(self: Tensor, entries: readonly Index[]): Tensor {
  return scope(() => {
    const { view, tensors } = views(self, entries);
    if (tensors.length > 0) return ops.index(view, tensors);
    return view === self ? ops.alias(self) : view;
  });
}

function indexPut_(self: Tensor, entries: readonly Index[], value: Tensor | Scalar): void {
  scope(() => {
    const { view, tensors } = views(self, entries);
    if (tensors.length > 0) {
      const values = isScalar(value)
        ? ops.full([], value, { dtype: self.dtype, device: self.device })
        : value;
      ops.indexPut_(view, tensors, values);
    } else if (isScalar(value)) {
      ops.fill_(view, value);
    } else {
      ops.copy_(view, value);
    }
  });
}

addMethods({
  index(this: Tensor, ...indices: Index[]) {
    return index(this, indices);
  },
  indexPut_(this: Tensor, indices: readonly Index[], value: Tensor | Scalar) {
    indexPut_(this, indices, value);
    return this;
  },
});
