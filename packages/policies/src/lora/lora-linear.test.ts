import { nn, noGrad, randn } from '@craft-ft/torch';
import { expect, it } from 'vitest';
import { LoraLinear } from './lora-linear.js';

it('a linear layer adds what its adapter gives, in its own dtype, and keeps its names', () => {
  const layer = new nn.Linear(3, 2).to({ dtype: 'bfloat16' });
  const x = randn([4, 3]).to('bfloat16');
  const plain = layer.call(x);
  const wrapped = new LoraLinear(layer, { r: 2, scaling: 1, dropout: 0, init: 'uniform' });
  noGrad(() => wrapped.adapter.lora_B.weight.copy_(randn([2, 2])));
  wrapped.adapter.to({ dtype: 'bfloat16' });
  const both = wrapped.call(x);
  expect(both.dtype).toBe('bfloat16');
  expect(both.tolist()).toEqual(plain.add(wrapped.adapter.call(x)).tolist());
  expect(wrapped.namedParameters().map(([name]) => name)).toEqual([
    'weight',
    'bias',
    'adapter.lora_A.weight',
    'adapter.lora_B.weight',
  ]);
  expect(wrapped.base.weight).toBe(wrapped.weight);
});
