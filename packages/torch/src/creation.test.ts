import { describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import * as torch from './index.js';

const integers = ['uint8', 'int8', 'int16', 'int32', 'int64'] as const;
const floats = ['float16', 'bfloat16', 'float32', 'float64'] as const;

describe('tensor', () => {
  it.each([...integers, ...floats])('keeps small whole numbers in %s', (dtype) => {
    const x = torch.tensor(
      [
        [0, 1, 2],
        [3, 100, 127],
      ],
      { dtype },
    );
    expect([x.dtype, x.shape]).toEqual([dtype, [2, 3]]);
    expect(x.tolist()).toEqual([
      [0, 1, 2],
      [3, 100, 127],
    ]);
  });

  it('guesses float32, bool and int64 from the first element', () => {
    expect(torch.tensor(3).dtype).toBe('float32');
    expect(torch.tensor([true, false]).dtype).toBe('bool');
    expect(torch.tensor([1n]).dtype).toBe('int64');
    expect(torch.tensor(new Int16Array(2)).dtype).toBe('int16');
    expect(torch.tensor([]).shape).toEqual([0]);
    expect(torch.tensor([[], []]).shape).toEqual([2, 0]);
  });

  it('keeps int64 beyond 2^53 as BigInt, and only there', () => {
    const big = 2n ** 53n + 1n;
    const x = torch.tensor([1n, big, -big]);
    expect(x.toTypedArray()).toEqual(BigInt64Array.of(1n, big, -big));
    expect(x.tolist()).toEqual([1, big, -big]);
    expect(torch.full([1], big).tolist()).toEqual([big]);
  });

  it('rounds to bfloat16 and float16', () => {
    expect(torch.tensor([1.01, Math.PI], { dtype: 'bfloat16' }).tolist()).toEqual([1.0078125, 3.140625]);
    expect(torch.tensor([65504, 1e-8], { dtype: 'float16' }).toTypedArray()).toEqual(
      Float32Array.of(65504, 0),
    );
    expect(torch.tensor([Number.NaN, -0, Infinity], { dtype: 'bfloat16' }).tolist()).toEqual([
      Number.NaN,
      -0,
      Infinity,
    ]);
  });

  it('stores bool as the bytes 0 and 1, whatever it was made from', () => {
    const x = torch.tensor([true, 2, 0, -1]);
    expect(x.toTypedArray()).toEqual(Uint8Array.of(1, 1, 0, 1));
    expect(x.tolist()).toEqual([true, true, false, true]);
    expect(torch.tensor(Uint8Array.of(0, 2), { dtype: 'bool' }).toTypedArray()).toEqual(Uint8Array.of(0, 1));
  });

  it('copies: the array may change afterwards', () => {
    const array = Float32Array.of(1, 2);
    const x = torch.tensor(array);
    array[0] = 9;
    expect(x.tolist()).toEqual([1, 2]);
  });

  it('refuses ragged arrays, fractions in int64, and shapes that do not fit', () => {
    expect(craftError(() => torch.tensor([[1, 2], [3]])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.tensor([[1, 2], 3])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.tensor([1, [2]])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.tensor([1, 2, 3], { shape: [2, 2] })).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.tensor([1.5], { dtype: 'int64' })).code).toBe('VALUE_INVALID');
    expect(craftError(() => torch.tensor([1], { dtype: 'complex' as 'bool' })).code).toBe('DTYPE_UNKNOWN');
  });
});

describe('fromTypedArray', () => {
  it.each([Float32Array, Float64Array, Int8Array, Uint8Array, Int16Array, Int32Array])(
    'shares the memory of a %o',
    (ArrayType) => {
      const array = new ArrayType([1, 2, 3, 4]);
      const x = torch.fromTypedArray(array, [2, 2]);
      array[0] = 7;
      x.select(0, 1).fill_(9);
      expect(x.tolist()).toEqual([
        [7, 2],
        [9, 9],
      ]);
      expect([...array]).toEqual([7, 2, 9, 9]);
    },
  );

  it('shares part of a buffer, and a SharedArrayBuffer', () => {
    const buffer = new SharedArrayBuffer(32);
    const x = torch.fromTypedArray(new Float32Array(buffer, 8, 2));
    x.fill_(5);
    expect([...new Float32Array(buffer)]).toEqual([0, 0, 5, 5, 0, 0, 0, 0]);
  });

  it('refuses another element count, element size or a negative shape', () => {
    const array = new Float32Array(6);
    expect(craftError(() => torch.fromTypedArray(array, [4])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.fromTypedArray(array, [-2, -3])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.fromTypedArray(array, [1.5, 4])).code).toBe('SHAPE_INVALID');
    expect(craftError(() => torch.fromTypedArray(array, [6], 'float64')).code).toBe('DTYPE_UNKNOWN');
    expect(craftError(() => torch.fromTypedArray(new Uint32Array(1) as unknown as Int32Array)).code).toBe(
      'DTYPE_UNKNOWN',
    );
  });
});

describe('filled tensors', () => {
  it('make the numbers they say', () => {
    expect(torch.zeros([2, 0, 3]).shape).toEqual([2, 0, 3]);
    expect(torch.ones([2], { dtype: 'bool' }).tolist()).toEqual([true, true]);
    expect(torch.full([2], 1.5).tolist()).toEqual([1.5, 1.5]);
    expect(torch.full([1], 3).dtype).toBe('float32');
    expect(torch.arange(3).tolist()).toEqual([0, 1, 2]);
    expect(torch.arange(1, 2, 0.25).tolist()).toEqual([1, 1.25, 1.5, 1.75]);
    expect(torch.linspace(0, 1, 5).tolist()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(torch.eye(2).tolist()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(torch.randperm(20).sort()[0].tolist()).toEqual([...Array(20).keys()]);
    const dice = torch.randint(1, 7, [100]);
    expect([dice.dtype, dice.min().item() >= 1, dice.max().item() <= 6]).toEqual(['int64', true, true]);
    expect(torch.zeros([1], { requiresGrad: true }).requiresGrad).toBe(true);
    expect(torch.zerosLike(torch.ones([2], { dtype: 'int32' })).dtype).toBe('int32');
  });

  it.each([[-1], [1.5], [Number.NaN], [2 ** 60]])('refuse the extent %s', (extent) => {
    expect(craftError(() => torch.zeros([extent])).code).toBe('TORCH_ERROR');
  });
});

describe('readback', () => {
  it('reads views row by row', () => {
    const x = torch.arange(6).view([2, 3]).t();
    expect(x.tolist()).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
    expect(
      torch
        .arange(6)
        .index(torch.slice(1, undefined, 2))
        .tolist(),
    ).toEqual([1, 3, 5]);
    expect(torch.tensor([1, 2]).expand([2, 2]).tolist()).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('item gives numbers; more than one element is refused', () => {
    expect(torch.tensor(2.5).item()).toBe(2.5);
    expect(torch.tensor([true]).item()).toBe(1);
    expect(torch.tensor([[7]], { dtype: 'int32' }).item()).toBe(7);
    expect(torch.tensor([1.5], { dtype: 'bfloat16' }).item()).toBe(1.5);
    expect(() => torch.zeros([2]).item()).toThrow(torch.TorchError);
  });

  it('to() converts dtype and keeps what already fits', () => {
    const x = torch.tensor([1.7, -1.7]);
    expect(x.to('int32').tolist()).toEqual([1, -1]);
    expect(x.to('bool').tolist()).toEqual([true, true]);
    expect(x.to({ dtype: 'float64', device: 'cpu' }).dtype).toBe('float64');
    const same = x.to('float32');
    same.fill_(0);
    expect(x.tolist()).toEqual([0, 0]);
    expect(() => x.to('nowhere')).toThrow(torch.TorchError);
  });
});

describe('printing', () => {
  it('looks like PyTorch and leaves out the middle of large tensors', () => {
    expect(
      String(
        torch.tensor([
          [1, 2.5],
          [3, 4],
        ]),
      ),
    ).toBe('tensor([[1, 2.5000],\n        [3, 4]], float32)');
    expect(String(torch.tensor([true]))).toBe('tensor([true], bool)');
    expect(String(torch.tensor(1, { requiresGrad: true }))).toBe('tensor(1, float32, requiresGrad)');
    expect(String(torch.arange(2000))).toBe('tensor([0, 1, 2, ..., 1997, 1998, 1999], int64, [2000])');
    expect(String(torch.zeros([1000, 1000])).length).toBeLessThan(300);
    const gone = torch.zeros([1]);
    gone.dispose();
    expect(String(gone)).toBe('Tensor(disposed)');
  });

  it('leaves no tensors behind', () => {
    const x = torch.zeros([2000, 8]);
    const before = torch.memory().tensors;
    String(x);
    expect(torch.memory().tensors).toBe(before);
  });
});
