import * as torch from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { innerProducts } from './inner-products.js';

test('chunk boundaries: every element counts once', () => {
  for (const size of [1, 32_767, 32_768, 32_769, 65_536, 100_003]) {
    const ones = torch.ones([size]);
    expect(innerProducts([ones], [ones.mul(2)])).toEqual({ d: 2 * size, T: size, R: 4 * size });
  }
});

test('accumulates in float64: a small term survives beside a large one, in every dtype', () => {
  for (const dtype of ['float32', 'float64', 'bfloat16'] as const) {
    const a = torch.tensor([4096, 1], { dtype });
    expect(innerProducts([a], [a]).d).toBe(2 ** 24 + 1);
  }
});

test('non-contiguous, scalar and empty gradients', () => {
  const a = torch.arange(0, 6).to('float32').view([2, 3]);
  const list = [a.t(), torch.tensor(2), torch.zeros([0, 3])];
  expect(innerProducts(list, list)).toEqual({ d: 59, T: 59, R: 59 });
});

test('missing sides, also all of them', () => {
  const three = torch.tensor([3]);
  expect(innerProducts([three, null], [null, three])).toEqual({ d: 0, T: 9, R: 9 });
  expect(innerProducts([null], [null])).toEqual({ d: 0, T: 0, R: 0 });
  expect(innerProducts([], [])).toEqual({ d: 0, T: 0, R: 0 });
});

test('a gradient that overflowed shows', () => {
  const products = innerProducts([torch.tensor([Number.NaN, 1])], [torch.tensor([1, 1])]);
  expect([products.d, products.T, products.R]).toEqual([Number.NaN, Number.NaN, 2]);
});
