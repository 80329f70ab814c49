import { expect, it } from 'vitest';
import { noGrad, randn } from '../index.js';
import { Linear } from './linear.js';

it('a linear layer adds what its adapter gives, in its own dtype', () => {
  const layer = new Linear(3, 2).to({ dtype: 'bfloat16' });
  const x = randn([4, 3]).to('bfloat16');
  const plain = layer.call(x);
  layer.adapter = new Linear(3, 2, { bias: false }).to({ dtype: 'bfloat16' });
  const both = layer.call(x);
  expect(both.dtype).toBe('bfloat16');
  expect(both.tolist()).toEqual(plain.add(layer.adapter.call(x)).tolist());
  expect(layer.namedParameters().map(([name]) => name)).toEqual(['weight', 'bias', 'adapter.weight']);
});

it('gives the same for a single vector with and without a graph, in the same shape', () => {
  for (const bias of [true, false]) {
    const layer = new Linear(6, 4, { bias });
    for (const shape of [[6], [1, 6], [1, 1, 6]]) {
      const x = randn(shape);
      const plain = layer.call(x);
      const fast = noGrad(() => layer.call(x));
      expect(fast.shape).toEqual(plain.shape);
      expect(fast.sub(plain).abs().max().item()).toBeLessThan(1e-6);
    }
    expect(() => noGrad(() => layer.call(randn([2, 3])))).toThrow();
  }
});
