import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { goldenPi0Path, newFolder, readGolden, toyTextFolder } from '../../test/tokenizers.js';
import { TextTokenizer } from './text-tokenizer.js';

interface Golden {
  vocab_size: number;
  cases: { text: string; ids: number[]; ids_with_bos: number[]; decoded: string }[];
}

const here = goldenPi0Path('toy_text_tokenizer.json') !== null;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(!here)("Gemma's pipeline, small vocabulary", () => {
  const golden = here ? readGolden<Golden>('toy_text_tokenizer.cases.json') : ({} as Golden);

  test('ids and texts', () => {
    const tokenizer = TextTokenizer.loadSync(toyTextFolder());
    const { vocabSize, padId, eosId, bosId, unkId } = tokenizer;
    expect([vocabSize, padId, eosId, bosId, unkId]).toEqual([golden.vocab_size, 0, 1, 2, 3]);
    for (const { text, ids, ids_with_bos: withBos, decoded } of golden.cases) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.encode(text, { addBos: true })).toEqual(withBos);
      expect(tokenizer.encodePrompt(text)).toEqual(withBos);
      expect(tokenizer.encode(text, { addEos: true })).toEqual([...ids, 1]);
      // The reference keeps special tokens that a text spells out.
      expect(tokenizer.decode(withBos)).toBe(decoded.replaceAll(/<(pad|eos|bos|unk)>/g, ''));
    }
  });

  test('tokenizer_config.json overrules the template', () => {
    const folder = toyTextFolder();
    const config = { add_bos_token: false, add_eos_token: true, bos_token: { content: '<bos>' } };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    const tokenizer = TextTokenizer.loadSync(folder);
    expect(tokenizer.encodePrompt('a')).toEqual([...tokenizer.encode('a'), 1]);
  });

  test('a name of the Hub means the folder it was brought to', () => {
    const home = newFolder();
    vi.stubEnv('HF_HOME', home);
    const error = thrown(() => TextTokenizer.loadSync('someone/gemma'));
    expect(error).toMatchObject({ code: 'TOKENIZER_MISSING' });
    expect(error.message).toContain('call fetchTokenizer first');
    mkdirSync(join(home, 'craft/tokenizers/someone'), { recursive: true });
    const folder = join(home, 'craft/tokenizers/someone/gemma');
    mkdirSync(folder);
    const copy = TextTokenizer.loadSync(toyTextFolder());
    expect(copy.vocabSize).toBe(640);
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(readGolden('toy_text_tokenizer.json')));
    expect(TextTokenizer.loadSync('someone/gemma').vocabSize).toBe(640);
    expect(TextTokenizer.loadSync('someone/gemma')).toBe(TextTokenizer.loadSync('someone/gemma'));
  });

  test('without BOS it is refused', () => {
    const folder = newFolder();
    const json = readGolden<{
      added_tokens: { content: string }[];
      post_processor: unknown;
      model: { vocab: object };
    }>('toy_text_tokenizer.json');
    json.added_tokens = json.added_tokens.filter(({ content }) => content !== '<bos>');
    json.post_processor = null;
    json.model.vocab = Object.fromEntries(
      Object.entries(json.model.vocab).filter(([name]) => name !== '<bos>'),
    );
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
    expect(thrown(() => TextTokenizer.loadSync(folder))).toMatchObject({ code: 'TOKENIZER_TOKEN_MISSING' });
  });
});

test('bytes: any text comes back', () => {
  const tokenizer = TextTokenizer.loadSync('builtin:bytes');
  const text = 'Task: öffne 瓶子 🦾, State: 1 2;\n';
  expect(tokenizer.decode(tokenizer.encode(text, { addBos: true, addEos: true }))).toBe(text);
  expect(tokenizer.encode('|')).toEqual([4 + '|'.charCodeAt(0)]);
  expect(tokenizer.encodePrompt('a')).toEqual([2, 4 + 97]);
  expect([tokenizer.vocabSize, TextTokenizer.loadSync('builtin:bytes:320').vocabSize]).toEqual([2048, 320]);
});

test('names and files that are no tokeniser', () => {
  const code = (name: string) => (thrown(() => TextTokenizer.loadSync(name)) as { code?: string }).code;
  expect(code('builtin:words')).toBe('TOKENIZER_NAME');
  expect(code('builtin:bytes:100')).toBe('TOKENIZER_NAME');
  expect(code('./nowhere')).toBe('TOKENIZER_MISSING');
  const folder = newFolder();
  expect(code(folder)).toBe('TOKENIZER_MISSING');
  writeFileSync(join(folder, 'tokenizer.json'), '{');
  expect(code(folder)).toBe('TOKENIZER_INVALID');
  writeFileSync(join(folder, 'tokenizer.json'), '{"model": {}}');
  expect(code(folder)).toBe('TOKENIZER_INVALID');
});
