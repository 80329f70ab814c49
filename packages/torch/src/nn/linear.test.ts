import { expect, it } from 'vitest';
import { noGrad, randn } from '../index.js';
import { Linear } from './linear.js';

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
