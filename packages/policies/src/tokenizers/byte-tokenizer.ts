import { CraftError } from '@craft-ft/torch/errors';
import type { TextBackend } from './text-backend.js';

const SPECIAL = ['<pad>', '<eos>', '<bos>', '<unk>'];
/** Ids that text uses: four special ones, then the bytes. */
const TEXT_IDS = SPECIAL.length + 256;
const DEFAULT_SIZE = 2048;

/**
 * The tokeniser `builtin:bytes`, for tests and tiny models: one id per UTF-8 byte. Ids are 0 `<pad>`, 1 `<eos>`, 2 `<bos>`, 3
 * `<unk>` as Gemma's, 4 to 259 the bytes; those above are never text and are room for FAST codes, which LeRobot maps to
 * `vocabulary size - 1 - fast_skip_tokens - code`. `builtin:bytes` has 2048 ids, so that with `fast_skip_tokens=128` a FAST
 * vocabulary of up to 1660 fits; `builtin:bytes:N` has N.
 *
 * @throws CraftError `TOKENIZER_NAME` for another built-in name, or a size below 260
 */
export function byteTokenizer(name: string): TextBackend {
  const match = /^builtin:bytes(?::(\d+))?$/.exec(name);
  const size = Number(match?.[1] ?? DEFAULT_SIZE);
  if (match === null || size < TEXT_IDS) {
    throw new CraftError(
      'TOKENIZER_NAME',
      `tokenizer ${name}: expected builtin:bytes, or builtin:bytes:N for N ids, N from ${TEXT_IDS} on`,
    );
  }
  return {
    vocabSize: size,
    codesFrom: TEXT_IDS,
    special: { pad: 0, eos: 1, bos: 2, unk: 3 },
    template: { bos: true, eos: false },
    encode: (text) => Array.from(new TextEncoder().encode(text), (byte) => byte + SPECIAL.length),
    decode: (ids) => {
      const bytes = ids.filter((id) => id >= SPECIAL.length && id < TEXT_IDS);
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
        Uint8Array.from(bytes, (id) => id - SPECIAL.length),
      );
    },
  };
}
