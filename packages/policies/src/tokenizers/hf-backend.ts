import { join } from 'node:path';
import { isPlainObject, type PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';
import { Tokenizer } from '@huggingface/tokenizers';
import { readTokenizerJson } from './locate.js';
import type { TextBackend } from './text-tokenizer.js';

/** Usual names of these tokens, for when `tokenizer_config.json` does not give them. */
const USUAL = {
  pad: ['<pad>', '[PAD]'],
  eos: ['<eos>', '</s>', '<|endoftext|>'],
  bos: ['<bos>', '<s>', '<|begin_of_text|>'],
  unk: ['<unk>', '[UNK]'],
} as const;

/**
 * A tokeniser in Hugging Face's format: `tokenizer.json`, and `tokenizer_config.json` if present.
 *
 * @throws CraftError `TOKENIZER_INVALID`
 */
export function huggingFaceBackend(folder: string): TextBackend {
  const path = join(folder, 'tokenizer.json');
  const json = readTokenizerJson(folder, 'tokenizer.json')!;
  const config = readTokenizerJson(folder, 'tokenizer_config.json') ?? {};
  const vocabulary = isPlainObject(json.model) ? json.model.vocab : undefined;
  if (typeof vocabulary !== 'object' || vocabulary === null) {
    throw new CraftError(
      'TOKENIZER_INVALID',
      `${path}: model.vocab is missing; is it a tokenizer of Hugging Face's format?`,
    );
  }
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(json, config);
  } catch (cause) {
    throw new CraftError('TOKENIZER_INVALID', `${path}: cannot be used: ${(cause as Error).message}`, {
      cause,
    });
  }
  const find = (kind: keyof typeof USUAL): number | null => {
    const names = [tokenName(config[`${kind}_token`]), ...USUAL[kind]];
    for (const name of names) {
      const id = name === null ? undefined : tokenizer.token_to_id(name);
      if (id !== undefined) return id;
    }
    return null;
  };
  const special = { pad: find('pad'), eos: find('eos'), bos: find('bos'), unk: find('unk') };
  return {
    vocabSize: Array.isArray(vocabulary) ? vocabulary.length : Object.keys(vocabulary).length,
    codesFrom: 0,
    special,
    template: templateOf(tokenizer, config, special),
    encode: (text) => (text === '' ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids),
    decode: (ids) =>
      ids.length === 0
        ? ''
        : tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
  };
}

/** `tokenizer_config.json` gives a token as text, or as an object with `content`. */
function tokenName(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isPlainObject(value) && typeof value.content === 'string' ? value.content : null;
}

// transformers lets add_bos_token and add_eos_token overrule what tokenizer.json's post-processor does.
function templateOf(
  tokenizer: Tokenizer,
  config: PlainObject,
  special: TextBackend['special'],
): TextBackend['template'] {
  const { ids } = tokenizer.encode('a');
  const said = (name: string, otherwise: boolean): boolean => {
    const value = config[name];
    return typeof value === 'boolean' ? value : otherwise;
  };
  return {
    bos: said('add_bos_token', ids[0] === special.bos),
    eos: said('add_eos_token', ids.at(-1) === special.eos),
  };
}
