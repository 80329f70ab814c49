import { noGrad, ones, randn, type Tensor, tensor } from '@craft-ft/torch';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sequenceMasks } from '../pi0_fast/model.js';
import { attention, attentionBias, KvCache } from './attention.js';

const bools = (rows: boolean[][]): Tensor =>
  tensor(rows.flat().map(Number), { dtype: 'bool', shape: [rows.length, rows[0]!.length] });

/** softmax(q·kᵀ / √D + bias)·v head by head, keys repeated. */
function reference(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor): Tensor {
  const [batch, length, heads, dim] = q.shape as [number, number, number, number];
  const group = heads / k.size(2);
  const perHead = (x: Tensor) => x.repeatInterleave(group, 2).transpose(1, 2);
  const scores = q.transpose(1, 2).matmul(perHead(k).transpose(2, 3)).div(Math.sqrt(dim));
  const blocked = allowed.logicalNot().unsqueeze(1);
  const weights = scores.maskedFill(blocked, -1e30).softmax(-1);
  return weights
    .matmul(perHead(v))
    .transpose(1, 2)
    .reshape([batch, length, heads * dim]);
}

describe('attention', () => {
  test.each([
    [4, 1],
    [4, 2],
    [4, 4],
  ])('%i query heads, %i key heads: as with repeated keys', (heads, kvHeads) => {
    const [q, k, v] = [randn([2, 5, heads, 8]), randn([2, 7, kvHeads, 8]), randn([2, 7, kvHeads, 8])];
    const allowed = randn([2, 5, 7]).gt(0);
    const found = attention(q, k, v, attentionBias(allowed, heads / kvHeads, 'float32'));
    expect(
      found
        .sub(reference(q, k, v, allowed))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-5);
  });

  test('a row that may attend to nothing averages over everything, and has gradients', () => {
    const v = randn([1, 6, 1, 4], { requiresGrad: true });
    const allowed = ones([1, 3, 6], { dtype: 'bool' }).mul(0).to('bool');
    const out = attention(randn([1, 3, 2, 4]), randn([1, 6, 1, 4]), v, attentionBias(allowed, 2, 'float32'));
    const mean = v.mean([1]).unsqueeze(1).repeat([1, 3, 1, 2]).reshape([1, 3, 8]);
    expect(out.sub(mean).abs().max().item()).toBeLessThan(1e-6);
    out.sum().backward();
    expect(Boolean(v.grad!.isfinite().all().item())).toBe(true);
  });

  test('gradients are those of repeated keys', () => {
    const leaves = [randn([2, 3, 4, 8]), randn([2, 3, 1, 8]), randn([2, 3, 1, 8])] as const;
    const allowed = ones([2, 3, 3], { dtype: 'bool' }).tril();
    const gradients = (run: (q: Tensor, k: Tensor, v: Tensor) => Tensor) => {
      const [q, k, v] = leaves.map((leaf) => leaf.clone().requiresGrad_()) as [Tensor, Tensor, Tensor];
      run(q, k, v).square().sum().backward();
      return [q, k, v].map((leaf) => leaf.grad!);
    };
    const bias = attentionBias(allowed, 4, 'float32');
    const found = gradients((q, k, v) => attention(q, k, v, bias));
    const expected = gradients((q, k, v) => reference(q, k, v, allowed));
    found.forEach((gradient, i) => {
      expect(gradient.sub(expected[i]!).abs().max().item()).toBeLessThan(1e-4);
    });
  });
});

describe('sequenceMasks', () => {
  const mask = (length: number) =>
    fc.array(fc.array(fc.boolean(), { minLength: length, maxLength: length }), {
      minLength: 2,
      maxLength: 2,
    });

  test('follow the rules, cell by cell', () => {
    const sizes = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 5 }));
    const sequences = sizes.chain(([prefix, suffix]) => fc.tuple(mask(prefix), mask(suffix)));
    fc.assert(
      fc.property(sequences, ([prefix, suffix]) => {
        const some = suffix[0]!.length > 0;
        const found = sequenceMasks(bools(prefix), some ? bools(suffix) : null);
        const cells = found.allowed.tolist() as boolean[][][];
        const positions = found.positions.tolist() as number[][];
        const limit = prefix[0]!.length;
        prefix.forEach((row, b) => {
          const valid = [...row, ...suffix[b]!];
          valid.forEach((queryValid, q) => {
            expect(positions[b]![q]).toBe(valid.slice(0, q + 1).filter(Boolean).length - 1);
            valid.forEach((keyValid, k) => {
              const sees = k < limit || (q >= limit && k <= q);
              expect(cells[b]![q]![k]).toBe(queryValid && keyValid && sees);
            });
          });
        });
      }),
      { numRuns: 60 },
    );
  });
});

test('a cache returns everything stored so far', () => {
  noGrad(() => {
    const sizes = { width: 8, depth: 2, mlpDim: 8, heads: 2, kvHeads: 1, headDim: 4, vocabSize: 10 };
    const cache = new KvCache(sizes, 2, 5, { dtype: 'float32', device: 'cpu' });
    const [first, second] = [randn([2, 3, 1, 4]), randn([2, 1, 1, 4])];
    cache.append(1, first, first);
    cache.length = 3;
    const [keys, values] = cache.append(1, second, second.mul(2));
    expect(keys.shape).toEqual([2, 4, 1, 4]);
    expect(keys.narrow(1, 0, 3).equal(first)).toBe(true);
    expect(values.narrow(1, 3, 1).equal(second.mul(2))).toBe(true);
    cache.dispose();
  });
});
