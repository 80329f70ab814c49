import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { safetensors } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { goldenPi0Path, newFolder, readGolden } from '../../../test/tokenizers.js';
import { Dct, FastTokenizer } from './tokenizer.js';

interface Case {
  kind: string;
  coeffs: number[];
  ids: number[];
  decoded_coeffs_relaxed: number[] | null;
  decoded_char_count: number;
}

interface Golden {
  mode: 'hub_bytelevel' | 'plain';
  T: number;
  D: number;
  vocab_size_requested: number;
  scale: number;
  min_token: number;
  merges_in_order: [string, string][];
  vocab: Record<string, number>;
  cases: Case[];
  decode_only: { kind: string; ids: number[]; decoded_char_count: number; relaxed_actions: number[] }[];
}

const names = ['fast_t10_d2_v256', 'fast_t16_d7_v512', 'fast_t50_d14_v1024', 'plain_t16_d7_v384'];

const flat = (actions: number[][]): number[] => actions.flat();
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a, (x, i) => Math.abs(x - b[i]!) / Math.max(1, Math.abs(b[i]!))).reduce(
    (max, x) => Math.max(max, x),
    0,
  );
}

for (const name of names) {
  const here = goldenPi0Path('fast', `${name}.json`) !== null;
  describe.skipIf(!here)(`equals the published FAST algorithm: ${name}`, () => {
    const golden = here ? readGolden<Golden>('fast', `${name}.json`) : ({} as Golden);
    const { T, D } = golden;
    const tensors = here ? safetensors.loadFile(goldenPi0Path('fast', `${name}.safetensors`)!) : new Map();
    const chunks = (key: string): Float32Array[] => {
      const values = tensors.get(key)!;
      const data = values.toTypedArray() as Float32Array;
      return Array.from({ length: values.shape[0]! }, (_, i) => data.subarray(i * T * D, (i + 1) * T * D));
    };

    function load(): FastTokenizer {
      const folder = newFolder();
      copyFileSync(goldenPi0Path('fast', `${name}.tokenizer.json`)!, join(folder, 'tokenizer.json'));
      const { scale, min_token, vocab_size_requested: vocab_size } = golden;
      writeFileSync(join(folder, 'processor_config.json'), JSON.stringify({ scale, min_token, vocab_size }));
      return FastTokenizer.loadSync(folder);
    }

    test('transform and coefficients', () => {
      const dct = new Dct(T);
      const expected = tensors.get('train_dct')!.toTypedArray();
      const found = chunks('train_chunks')
        .slice(0, 8)
        .flatMap((chunk) => [...dct.forward(chunk, D)]);
      expect(difference(found, expected)).toBeLessThan(1e-12);
      const tokenizer = load();
      const coefficients = chunks('train_chunks').flatMap((chunk) => [
        ...tokenizer.coefficients(chunk, [T, D]),
      ]);
      expect(difference(coefficients, tensors.get('train_coeffs')!.toTypedArray())).toBe(0);
    });

    test('training', () => {
      const tokenizer = FastTokenizer.fit(chunks('train_chunks'), [T, D], {
        vocabSize: golden.vocab_size_requested,
        scale: golden.scale,
        upstream: true,
        mode: golden.mode === 'plain' ? 'plain' : 'bytes',
      });
      expect(tokenizer.settings.minToken).toBe(golden.min_token);
      expect(tokenizer.bpe.merges).toEqual(golden.merges_in_order);
      expect(Object.fromEntries(tokenizer.bpe.vocabulary)).toEqual(golden.vocab);
    });

    test('encoding and decoding', () => {
      const tokenizer = load();
      const strict = tensors.get('test_decoded_strict')!.toTypedArray();
      const relaxed = tensors.get('test_decoded_relaxed')!.toTypedArray();
      chunks('test_chunks').forEach((chunk, i) => {
        const { coeffs, ids, decoded_coeffs_relaxed: decoded } = golden.cases[i]!;
        expect([...tokenizer.coefficients(chunk, [T, D])]).toEqual(coeffs);
        expect(tokenizer.encode(chunk, [T, D])).toEqual(ids);
        const part = (values: ArrayLike<number>) => Array.from(values).slice(i * T * D, (i + 1) * T * D);
        expect(difference(flat(tokenizer.decode(ids, T, D)), part(relaxed))).toBeLessThan(1e-12);
        expect(difference(flat(tokenizer.decodeStrict(ids, T, D)), part(strict))).toBeLessThan(1e-12);
        expect(tokenizer.decodeCoefficients(ids).length).toBe(golden.cases[i]!.decoded_char_count);
        if (decoded !== null) {
          const found = new Int32Array(T * D);
          found.set(tokenizer.decodeCoefficients(ids).subarray(0, T * D));
          expect([...found]).toEqual(decoded);
        }
      });
    });

    test('damaged sequences', () => {
      const tokenizer = load();
      for (const { ids, decoded_char_count: count, relaxed_actions: actions } of golden.decode_only) {
        expect(tokenizer.decodeCoefficients(ids).length).toBe(count);
        expect(difference(flat(tokenizer.decode(ids, T, D)), actions)).toBeLessThan(1e-12);
      }
    });

    test('trained here, every coefficient of the range can be encoded', () => {
      const tokenizer = FastTokenizer.fit(chunks('train_chunks'), [T, D], {
        vocabSize: golden.vocab_size_requested,
        mode: golden.mode === 'plain' ? 'plain' : 'bytes',
      });
      const { minToken, maxToken } = tokenizer.settings;
      for (let value = minToken; value <= maxToken!; value++) {
        const coefficients = Int32Array.from([value, 0, value, value]);
        const ids = tokenizer.encodeCoefficients(coefficients);
        expect([...tokenizer.decodeCoefficients(ids)]).toEqual([...coefficients]);
      }
      const wide = tokenizer.encodeCoefficients(Int32Array.from([minToken - 50, maxToken! + 700]));
      expect([...tokenizer.decodeCoefficients(wide)]).toEqual([minToken, maxToken]);
    });
  });
}
