import fc from 'fast-check';
import { distance as levenshtein } from 'fastest-levenshtein';
import { expect, test } from 'vitest';
import { nearest } from './check.js';

test('levenshtein counts edits and is a metric', () => {
  expect(levenshtein('kitten', 'sitting')).toBe(3);
  expect(levenshtein('', 'abc')).toBe(3);
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
      expect(levenshtein(a, b)).toBe(levenshtein(b, a));
      expect(levenshtein(a, b) === 0).toBe(a === b);
      expect(levenshtein(a, c)).toBeLessThanOrEqual(levenshtein(a, b) + levenshtein(b, c));
    }),
  );
});

test('nearest finds misspelt, hyphenated and unqualified names, and nothing for nonsense', () => {
  const names = ['policy.chunk_size', 'policy.n_action_steps', 'batch_size', 'optimizer.lr', 'steps'];
  expect(nearest('polcy.chunksize', names)).toBe('policy.chunk_size');
  expect(nearest('batch-size', names)).toBe('batch_size');
  expect(nearest('lr', names)).toBe('optimizer.lr');
  expect(nearest('chunk_size', names)).toBe('policy.chunk_size');
  expect(nearest('xyzzy', names)).toBeNull();
});
