import { CraftError } from '@craft-ft/torch/errors';
import type { Bpe, PieceMode } from './bpe.js';
import { trainBpe } from './bpe-trainer.js';
import { byteLevel } from './byte-level.js';

export interface FastVocabularyOptions {
  vocabSize: number;
  mode: PieceMode;
  /** Exactly the vocabulary that upstream trains, with its gap; see {@link trainFastVocabulary}. */
  upstream: boolean;
  onProgress?: (size: number) => void;
}

/** Code points that UTF-8 has no place for begin here. */
export const CODE_POINTS = 0xd800;

/**
 * Trains the vocabulary for quantised coefficients.
 *
 * Upstream gives ids to the code points of the range, but its pieces are made of byte characters, so that a coefficient that no
 * chunk has may vanish when it is encoded. Here the ids are those of the byte characters of every code point in the range: each
 * coefficient can be encoded, and more of the vocabulary is left for merges.
 *
 * @param coefficients of each chunk
 * @throws CraftError `FAST_VOCAB_TOO_SMALL` where the vocabulary cannot hold the range
 */
export function trainFastVocabulary(
  coefficients: readonly Int32Array[],
  options: FastVocabularyOptions,
): { bpe: Bpe; minToken: number; maxToken: number } {
  const { vocabSize, mode, upstream, onProgress } = options;
  let minToken = Number.POSITIVE_INFINITY;
  let maxToken = Number.NEGATIVE_INFINITY;
  for (const chunk of coefficients) {
    for (const value of chunk) {
      if (value < minToken) minToken = value;
      if (value > maxToken) maxToken = value;
    }
  }
  const range = maxToken - minToken;
  const codePoints = function* (): Generator<string> {
    for (let i = 0; i <= Math.min(range, CODE_POINTS - 1); i++) yield String.fromCodePoint(i);
  };
  const alphabet = new Set<string>();
  if (upstream || mode === 'plain') for (const character of codePoints()) alphabet.add(character);
  else for (const character of codePoints()) for (const byte of byteLevel(character)) alphabet.add(byte);
  if (range > vocabSize || range >= CODE_POINTS || alphabet.size > vocabSize) {
    throw new CraftError(
      'FAST_VOCAB_TOO_SMALL',
      `vocab_size=${vocabSize} is too small for coefficients from ${minToken} to ${maxToken}; ` +
        `make it larger than ${Math.max(range, alphabet.size)}, lower the scale, or normalise the actions (outliers widen the range)`,
    );
  }
  const texts = coefficients.map((chunk) => coefficientText(chunk, minToken));
  return { bpe: trainBpe(texts, { vocabSize, alphabet, mode, onProgress }), minToken, maxToken };
}

/** Coefficients as text: one code point each, 0 for `minToken` and everything below it. */
export function coefficientText(coefficients: Int32Array, minToken: number): string {
  const parts: string[] = [];
  for (const value of coefficients) {
    parts.push(String.fromCodePoint(Math.min(Math.max(value - minToken, 0), CODE_POINTS - 1)));
  }
  return parts.join('');
}
