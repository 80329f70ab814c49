import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { thrown } from '../../../../datasets/test/thrown.js';
import { newFolder, smallFast } from '../../../test/tokenizers.js';
import { Dct, FastTokenizer, roundHalfEven } from './tokenizer.js';

test('rounding to even', () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, -3.6].map(roundHalfEven)).toEqual([
    0, 2, 2, -0, -2, -2, 0, -4,
  ]);
});

test('the transform is orthonormal: there and back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 5 }), (length, width) => {
      const dct = new Dct(length);
      const values = Float64Array.from({ length: length * width }, (_, i) => Math.sin(i * 1.7) * 3);
      const back = dct.inverse(dct.forward(values, width), width);
      for (let i = 0; i < values.length; i++) expect(Math.abs(back[i]! - values[i]!)).toBeLessThan(1e-12);
    }),
    { numRuns: 30 },
  );
});

test('what is encoded comes back to within half a quantisation step', () => {
  const [steps, width] = [12, 3];
  const { tokenizer } = smallFast(steps, width);
  const { scale, minToken, maxToken } = tokenizer.settings;
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -0.9, max: 0.9, noNaN: true }), { minLength: 36, maxLength: 36 }),
      (chunk) => {
        const ids = tokenizer.encode(chunk, [steps, width]);
        const dct = new Dct(steps);
        const wanted = dct.forward(chunk, width);
        const found = dct.forward(tokenizer.decode(ids, steps, width).flat(), width);
        wanted.forEach((value, i) => {
          const inRange = Math.min(Math.max(value, minToken / scale), maxToken! / scale);
          expect(Math.abs(found[i]! - inRange)).toBeLessThanOrEqual(0.5 / scale + 1e-9);
        });
        expect(tokenizer.decodeStrict(ids, steps, width)).toEqual(tokenizer.decode(ids, steps, width));
      },
    ),
    { numRuns: 100 },
  );
});

test('saved and loaded it is the same, and saving again gives the same files', () => {
  const { folder, tokenizer } = smallFast(10, 2);
  const loaded = FastTokenizer.loadSync(folder);
  expect(loaded.settings).toEqual(tokenizer.settings);
  expect(loaded.bpe.merges).toEqual(tokenizer.bpe.merges);
  expect([...loaded.bpe.vocabulary]).toEqual([...tokenizer.bpe.vocabulary]);
  const chunk = Float32Array.from({ length: 20 }, (_, i) => Math.sin(i));
  expect(loaded.encode(chunk, [10, 2])).toEqual(tokenizer.encode(chunk, [10, 2]));
  const again = newFolder();
  loaded.save(again);
  for (const name of ['tokenizer.json', 'processor_config.json', 'tokenizer_config.json', 'metadata.json']) {
    expect(readFileSync(join(again, name), 'utf8')).toBe(readFileSync(join(folder, name), 'utf8'));
  }
  expect(JSON.parse(readFileSync(join(folder, 'processor_config.json'), 'utf8'))).toEqual({
    action_dim: 2,
    auto_map: {
      AutoProcessor: 'physical-intelligence/fast--processing_action_tokenizer.UniversalActionProcessor',
    },
    min_token: tokenizer.settings.minToken,
    processor_class: 'UniversalActionProcessor',
    scale: 10,
    time_horizon: 10,
    vocab_size: 256,
  });
});

test('merges of the older file format', () => {
  const { folder, tokenizer } = smallFast(6, 2);
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(readFileSync(path, 'utf8')) as { model: { merges: string[][] | string[] } };
  json.model.merges = (json.model.merges as string[][]).map((pair) => pair.join(' '));
  writeFileSync(path, JSON.stringify(json));
  expect(FastTokenizer.loadSync(folder).bpe.merges).toEqual(tokenizer.bpe.merges);
});

test('bad input', () => {
  const chunk = [[0.1, 5000]];
  const { folder, tokenizer } = smallFast(1, 2);
  const fit = (chunks: number[][][], options = {}) =>
    thrown(() => FastTokenizer.fit(chunks, [1, 2], options));
  expect(fit([])).toMatchObject({ code: 'FAST_INPUT' });
  expect(fit([[[1, Number.NaN]]])).toMatchObject({ code: 'FAST_INPUT' });
  expect(fit([[[1, 2, 3]]]).message).toContain('3 values, expected 1 steps of 2 dimensions');
  expect(fit([chunk])).toMatchObject({
    code: 'FAST_VOCAB_TOO_SMALL',
    message: expect.stringContaining('vocab_size=1024 is too small for coefficients from 1 to 50000'),
  });
  expect(thrown(() => tokenizer.encode([1, 2, 3], [1, 2]))).toMatchObject({ code: 'FAST_INPUT' });
  expect(tokenizer.decode([-1], 1, 2)).toEqual([[0, 0]]);
  expect(tokenizer.decode([99999], 1, 2)).toEqual([[0, 0]]);
  writeFileSync(join(folder, 'processor_config.json'), '{"scale": "ten"}');
  expect(thrown(() => FastTokenizer.loadSync(folder)).message).toMatch(/processor_config\.json: scale/);
  rmSync(join(folder, 'processor_config.json'));
  expect(thrown(() => FastTokenizer.loadSync(folder)).message).toContain('is a text tokenizer');
});
