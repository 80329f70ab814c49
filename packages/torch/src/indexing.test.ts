import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import type { Index, NestedArray, Slice } from './index.js';
import * as torch from './index.js';

const SHAPE = [3, 4, 2];
const make = () => torch.arange(24).view(SHAPE);

/** Python's range(start, stop, step) after clipping, for positive steps. */
function range({ start, stop, step }: Slice, length: number): number[] {
  const clip = (n: number) => Math.min(Math.max(n < 0 ? n + length : n, 0), length);
  const positions: number[] = [];
  for (let i = clip(start ?? 0); i < clip(stop ?? length); i += step ?? 1) positions.push(i);
  return positions;
}

/** PyTorch's `value[...entries]` on nested arrays, for numbers, slices, null and '...'. */
function naive(value: NestedArray, entries: readonly Index[], ndim: number): NestedArray {
  if (entries.length === 0) return value;
  const [entry, ...rest] = entries;
  if (entry === null) return [naive(value, rest, ndim)];
  if (entry === '...') {
    const used = rest.filter((e) => e !== null).length;
    return naive(value, [...Array<Index>(ndim - used).fill(torch.slice()), ...rest], ndim);
  }
  const list = value as NestedArray[];
  if (typeof entry === 'number') return naive(list.at(entry)!, rest, ndim - 1);
  return range(entry as Slice, list.length).map((i) => naive(list[i], rest, ndim - 1));
}

const end = fc.option(fc.integer({ min: -6, max: 6 }), { nil: undefined });
const aSlice = fc.record({ start: end, stop: end, step: fc.constantFrom(undefined, 1, 2, 3) });
const entries = fc
  .tuple(
    fc.array(fc.constantFrom(0, 1, 2), { maxLength: 3 }),
    fc.array(fc.oneof(aSlice, fc.constantFrom<Index>(null, 0, 1, -1)), { maxLength: 5 }),
    fc.option(fc.nat(3), { nil: undefined }),
  )
  .map(([, list, at]) => {
    let used = 0;
    const kept = list.filter((entry) => entry === null || used++ < SHAPE.length) as Index[];
    if (at !== undefined) kept.splice(at, 0, '...');
    return kept;
  });

describe('index', () => {
  it('equals a naive implementation for numbers, slices, null and ...', () => {
    fc.assert(
      fc.property(entries, (index) => {
        torch.scope(() => {
          const x = make();
          expect(x.index(...index).tolist()).toEqual(naive(x.tolist(), index, 3));
        });
      }),
      { numRuns: 300 },
    );
  });

  it('writes where it reads', () => {
    fc.assert(
      fc.property(entries, (index) => {
        torch.scope(() => {
          const x = make();
          const touched = new Set(
            x
              .index(...index)
              .flatten()
              .tolist() as number[],
          );
          x.indexPut_(index, -1);
          const expected = [...Array(24).keys()].map((n) => (touched.has(n) ? -1 : n));
          expect(x.flatten().tolist()).toEqual(expected);
        });
      }),
      { numRuns: 200 },
    );
  });

  it('is a view without tensors among the indices, a copy with them', () => {
    const x = make();
    x.index(0, torch.slice(1, 3)).fill_(-1);
    expect(x.eq(-1).sum().item()).toBe(4);
    x.index(torch.tensor([1], { dtype: 'int64' })).fill_(-1);
    expect(x.eq(-1).sum().item()).toBe(4);
    expect(x.index().shape).toEqual(SHAPE);
  });

  it('takes index and mask tensors', () => {
    const x = make();
    const rows = torch.tensor([2, 0], { dtype: 'int64' });
    expect(x.index(rows, 0, 1).tolist()).toEqual([17, 1]);
    expect(x.index('...', torch.tensor([1], { dtype: 'int64' })).shape).toEqual([3, 4, 1]);
    expect(x.index(rows, rows).tolist()).toEqual([
      [20, 21],
      [0, 1],
    ]);
    expect(x.index(x.gt(20)).tolist()).toEqual([21, 22, 23]);
    expect(x.index(torch.tensor([true, false, true]), torch.slice(0, 1)).shape).toEqual([2, 1, 2]);
    expect(x.index(null, torch.tensor([false, false, true])).shape).toEqual([1, 1, 4, 2]);
  });

  it('refuses what does not fit', () => {
    const x = make();
    expect(craftError(() => x.index(0, 0, 0, 0)).code).toBe('INDEX_INVALID');
    expect(craftError(() => x.index('...', 0, '...')).code).toBe('INDEX_INVALID');
    expect(craftError(() => x.index(3)).code).toBe('TORCH_ERROR');
    expect(craftError(() => x.index(torch.slice(0, 2, -1))).code).toBe('TORCH_ERROR');
    expect(craftError(() => x.index(0.5)).code).toBe('TORCH_ERROR');
  });
});

describe('indexPut_', () => {
  it('broadcasts values and takes masks', () => {
    const x = torch.zeros([2, 3]);
    x.indexPut_([torch.slice(), 1], torch.tensor([5, 6]));
    x.indexPut_([torch.tensor([1], { dtype: 'int64' })], torch.tensor([[7, 8, 9]]));
    expect(x.tolist()).toEqual([
      [0, 5, 0],
      [7, 8, 9],
    ]);
    x.indexPut_([x.gt(7)], -1);
    expect(x.tolist()).toEqual([
      [0, 5, 0],
      [7, -1, -1],
    ]);
    x.indexPut_([], 2);
    expect(x.sum().item()).toBe(12);
  });

  it('leaves no temporaries behind', () => {
    const x = torch.zeros([2, 3]);
    const rows = torch.tensor([0], { dtype: 'int64' });
    const before = torch.memory().tensors;
    x.indexPut_([torch.slice(1), torch.slice(0, 2)], 1);
    x.indexPut_([rows, 1], 2);
    expect(torch.memory().tensors).toBe(before);
    x.index(0, torch.slice(1), null);
    expect(torch.memory().tensors).toBe(before + 1);
  });
});
