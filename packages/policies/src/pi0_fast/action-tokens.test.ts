import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { goldenPi0Path, newFolder, readGolden, smallFast } from '../../test/tokenizers.js';
import { type TextBackend, TextTokenizer } from '../tokenizers/text-tokenizer.js';
import { ActionTokens } from './action-tokens.js';
import { FastTokenizer } from './fast/tokenizer.js';

interface Golden {
  fast_tokenizer: string;
  time_horizon: number;
  action_dim: number;
  scale: number;
  min_token: number;
  text_vocab_size: number;
  fast_skip_tokens: number;
  action_prefix_ids: number[];
  bar_id: number;
  chunks: number[][][];
  encode: {
    add_eos_after_bar: boolean;
    max_action_tokens: number;
    fast_ids: number[][];
    tokens: number[][];
    mask: number[][];
    code_mask: number[][];
  }[];
  detokenize: {
    kind: string;
    tokens: number[];
    action_horizon?: number;
    actions: number[][] | null;
    error: string | null;
  }[];
}

const here = goldenPi0Path('action_tokens.json') !== null;
const golden = here ? readGolden<Golden>('action_tokens.json') : ({} as Golden);

const backend = (vocabSize: number, words: Record<string, number[]>): TextBackend => ({
  vocabSize,
  codesFrom: 0,
  special: { pad: 0, eos: 1, bos: 2, unk: 3 },
  template: { bos: true, eos: false },
  encode: (text) => words[text] ?? [3],
  decode: () => '',
});

describe.skipIf(!here)("equals LeRobot's step and detokenize_actions", () => {
  function make(options: { addEos?: boolean; validatePrefix?: boolean } = {}): ActionTokens {
    const folder = newFolder();
    copyFileSync(
      goldenPi0Path('fast', `${golden.fast_tokenizer}.tokenizer.json`)!,
      join(folder, 'tokenizer.json'),
    );
    const { scale, min_token } = golden;
    writeFileSync(join(folder, 'processor_config.json'), JSON.stringify({ scale, min_token }));
    const words = { 'Action: ': golden.action_prefix_ids, '|': [golden.bar_id] };
    return new ActionTokens({
      text: new TextTokenizer('toy', backend(golden.text_vocab_size, words)),
      fast: FastTokenizer.loadSync(folder),
      fastSkipTokens: golden.fast_skip_tokens,
      ...options,
    });
  }

  test('sequences, masks, truncation', () => {
    for (const { add_eos_after_bar: addEos, max_action_tokens: max, ...expected } of golden.encode) {
      const tokens = make({ addEos });
      golden.chunks.forEach((chunk, i) => {
        const found = tokens.encode(chunk, max);
        expect(tokens.fast.encode(chunk)).toEqual(expected.fast_ids[i]);
        expect(found.ids).toEqual(expected.tokens[i]);
        expect(found.mask.map(Number)).toEqual(expected.mask[i]);
        expect(found.codeMask.map(Number)).toEqual(expected.code_mask[i]);
      });
    }
  });

  test.each(here ? golden.detokenize : [])('$kind', (expected) => {
    const tokens = make({ validatePrefix: !expected.kind.includes('validation_off') });
    const horizon = expected.action_horizon ?? golden.time_horizon;
    const { actions, problem } = tokens.decode(expected.tokens, horizon, golden.action_dim);
    if (expected.actions === null) {
      expect(problem).toMatch(/do not begin with "Action:"/);
      expect(actions.flat().every((x) => x === 0)).toBe(true);
      return;
    }
    const errors = actions.flatMap((row, t) => row.map((x, d) => Math.abs(x - expected.actions![t]![d]!)));
    expect(Math.max(...errors)).toBeLessThan(1e-6);
    expect(problem === null).toBe(/clean|prefix_twice|validation_off/.test(expected.kind));
  });
});

test('with builtin:bytes a chunk comes back, and the room for codes is checked', () => {
  const { tokenizer: fast } = smallFast(8, 3);
  const text = TextTokenizer.loadSync('builtin:bytes');
  const tokens = new ActionTokens({ text, fast });
  const chunk = Array.from({ length: 8 }, (_, t) => [Math.sin(t), t / 8, -0.5]);
  const { ids, length } = tokens.encode(chunk, 64);
  expect(length).toBeLessThan(64);
  const { actions, problem } = tokens.decode(ids, 8, 3);
  expect(problem).toBeNull();
  const errors = actions.flatMap((row, t) => row.map((x, d) => Math.abs(x - chunk[t]![d]!)));
  expect(Math.max(...errors)).toBeLessThan(0.5);
  const small = TextTokenizer.loadSync(`builtin:bytes:${260 + 128 + fast.vocabSize - 1}`);
  expect(thrown(() => new ActionTokens({ text: small, fast }))).toMatchObject({
    code: 'TOKENIZER_VOCAB_TOO_SMALL',
    message: expect.stringContaining(`at least ${260 + 128 + fast.vocabSize} ids`),
  });
  const fits = TextTokenizer.loadSync(`builtin:bytes:${260 + 128 + fast.vocabSize}`);
  expect(new ActionTokens({ text: fits, fast }).map(fast.vocabSize - 1)).toBe(260);
});

test('a text tokeniser without "|" or with one that splits is refused', () => {
  const { tokenizer: fast } = smallFast(4, 2);
  const refused = (words: Record<string, number[]>) =>
    thrown(() => new ActionTokens({ text: new TextTokenizer('odd', backend(4000, words)), fast }));
  expect(refused({ 'Action: ': [5] })).toMatchObject({
    code: 'TOKENIZER_TOKEN_MISSING',
    message: expect.stringContaining('tokenizer odd: has no token for "|"'),
  });
  expect(refused({ 'Action: ': [5], '|': [6, 7] }).message).toContain('splits "|" into 2 tokens');
  expect(refused({ '|': [6] }).message).toContain('"Action: "');
});
