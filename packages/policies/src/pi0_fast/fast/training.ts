import { CraftError } from '@craft-ft/torch/errors';
import TinyQueue from 'tinyqueue';
import { Bpe, byteLevel, byteLevelPieces, type Merge, type PieceMode } from './bpe.js';
import type { FastTokenizer } from './tokenizer.js';

interface FastVocabularyOptions {
  vocabSize: number;
  mode: PieceMode;
  /** Exactly the vocabulary that upstream trains, with its gap; see {@link trainFastVocabulary}. */
  upstream: boolean;
  onProgress?: (size: number) => void;
}

/** The surrogates, code points that UTF-8 cannot encode, begin here. */
const CODE_POINTS = 0xd800;

/**
 * Trains the vocabulary for quantised coefficients.
 *
 * Upstream gives ids to the code points in the range, but its pieces consist of byte characters, so a coefficient that occurs in no
 * chunk may be dropped when it is encoded. Here the ids are those of the byte characters of every code point in the range: every
 * coefficient can be encoded, and more of the vocabulary is left for merges.
 *
 * @param coefficients of each chunk
 * @throws CraftError `FAST_VOCAB_TOO_SMALL` if the vocabulary cannot hold the range
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

interface BpeTrainingOptions {
  /** Vocabulary size to reach; smaller if no pair is frequent enough. */
  vocabSize: number;
  /** Characters that get ids even where no text has them. */
  alphabet: Iterable<string>;
  mode: PieceMode;
  /** Pairs that occur less often are not merged. Default 2. */
  minFrequency?: number;
  /** Called with the tokens learned so far. */
  onProgress?: (size: number) => void;
}

/** A distinct piece: its tokens, and how often it occurs. */
interface Word {
  tokens: number[];
  readonly count: number;
}

interface Pair {
  count: number;
  readonly left: number;
  readonly right: number;
  readonly words: Set<number>;
}

/**
 * Learns a vocabulary as the BPE trainer of Hugging Face's tokenizers: ids for the alphabet and every character of the texts, by
 * code point; then the most frequent pair of neighbours within a piece becomes a token (ties go to the smaller left id, then to the
 * smaller right id), until the vocabulary is full. A merge whose text is already a token reuses that token's id.
 */
function trainBpe(texts: Iterable<string>, options: BpeTrainingOptions): Bpe {
  const { vocabSize, mode, minFrequency = 2, onProgress = () => {} } = options;
  const pieces = new Map<string, number>();
  for (const text of texts) {
    for (const piece of mode === 'bytes' ? byteLevelPieces(text) : [text]) {
      pieces.set(piece, (pieces.get(piece) ?? 0) + 1);
    }
  }
  const alphabet = new Set(options.alphabet);
  for (const piece of pieces.keys()) for (const character of piece) alphabet.add(character);
  const tokens = [...alphabet].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const words = Array.from(
    pieces,
    ([piece, count]): Word => ({ tokens: Array.from(piece, (character) => ids.get(character)!), count }),
  );
  const counts = new PairCounts();
  words.forEach(({ tokens: own, count }, word) => {
    for (let i = 0; i + 1 < own.length; i++) counts.add(own[i]!, own[i + 1]!, count, word);
  });
  const queue = new TinyQueue<Pair>([], mostFrequentFirst);
  for (const pair of counts.take()) queue.push(pair);
  const merges: Merge[] = [];
  while (ids.size < vocabSize) {
    const top = queue.pop();
    if (top === undefined) break;
    const count = counts.get(top.left, top.right);
    if (top.count !== count) {
      top.count = count;
      queue.push(top);
      continue;
    }
    if (count < Math.max(1, minFrequency)) break;
    const [left, right] = [tokens[top.left]!, tokens[top.right]!];
    let merged = ids.get(left + right);
    if (merged === undefined) {
      merged = tokens.length;
      tokens.push(left + right);
      ids.set(left + right, merged);
    }
    merges.push([left, right]);
    for (const word of top.words) mergeIn(words[word]!, word, top, merged, counts);
    for (const pair of counts.take()) queue.push(pair);
    onProgress(ids.size);
  }
  return new Bpe(ids, merges, mode);
}

function mostFrequentFirst(a: Pair, b: Pair): number {
  return b.count - a.count || a.left - b.left || a.right - b.right;
}

/** How often each pair occurs, and the pairs that have become more frequent since they were last taken. */
class PairCounts {
  readonly #counts = new Map<number, number>();
  #risen = new Map<number, Pair>();

  get(left: number, right: number): number {
    return this.#counts.get(key(left, right)) ?? 0;
  }

  add(left: number, right: number, change: number, word: number): void {
    const at = key(left, right);
    this.#counts.set(at, (this.#counts.get(at) ?? 0) + change);
    if (change < 0) return;
    const known = this.#risen.get(at);
    if (known === undefined) this.#risen.set(at, { count: 0, left, right, words: new Set([word]) });
    else known.words.add(word);
  }

  take(): Pair[] {
    const risen = [...this.#risen.values()];
    this.#risen = new Map();
    for (const pair of risen) pair.count = this.get(pair.left, pair.right);
    return risen.filter(({ count }) => count > 0);
  }
}

/** Ids stay far below 2^26, so that two of them fit a double. */
function key(left: number, right: number): number {
  return left * 2 ** 26 + right;
}

function mergeIn(word: Word, index: number, pair: Pair, merged: number, counts: PairCounts): void {
  const { tokens, count } = word;
  const result: number[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] !== pair.left || tokens[i + 1] !== pair.right) {
      result.push(tokens[i]!);
      continue;
    }
    const before = result.at(-1);
    const after = tokens[i + 2];
    if (before !== undefined) {
      counts.add(before, pair.left, -count, index);
      counts.add(before, merged, count, index);
    }
    if (after !== undefined) {
      counts.add(pair.right, after, -count, index);
      counts.add(merged, after, count, index);
    }
    result.push(merged);
    i++;
  }
  word.tokens = result;
}

/** How well a FAST tokeniser compresses chunks. Names of token counts are those of LeRobot's script. */
export interface CompressionStats {
  /** Numbers per token. */
  compression_ratio: number;
  mean_token_length: number;
  p99_token_length: number;
  min_token_length: number;
  max_token_length: number;
  /** Root mean squared error between actions and their reconstruction, in normalised units. */
  reconstruction_rmse: number;
  reconstruction_max_error: number;
}

const SAMPLE = 1000;

/** Encodes and decodes up to 1000 chunks, evenly spread. */
export function compressionStats(
  tokenizer: FastTokenizer,
  chunks: readonly Float32Array[],
  [steps, width]: readonly [number, number],
): CompressionStats {
  const stride = Math.max(1, chunks.length / SAMPLE);
  const lengths: number[] = [];
  let squares = 0;
  let worst = 0;
  for (let i = 0; i < chunks.length; i += stride) {
    const chunk = chunks[Math.floor(i)]!;
    const ids = tokenizer.encode(chunk, [steps, width]);
    lengths.push(ids.length);
    const back = tokenizer.decode(ids, steps, width).flat();
    for (let k = 0; k < chunk.length; k++) {
      const error = Math.abs(back[k]! - chunk[k]!);
      squares += error * error;
      worst = Math.max(worst, error);
    }
  }
  lengths.sort((a, b) => a - b);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  const at = 0.99 * (lengths.length - 1);
  const [low, high] = [lengths[Math.floor(at)]!, lengths[Math.ceil(at)]!];
  return {
    compression_ratio: (steps * width) / mean,
    mean_token_length: mean,
    p99_token_length: low + (high - low) * (at % 1),
    min_token_length: lengths[0]!,
    max_token_length: lengths.at(-1)!,
    reconstruction_rmse: Math.sqrt(squares / (lengths.length * steps * width)),
    reconstruction_max_error: worst,
  };
}

/** Coefficients in an inclusive range that cannot be encoded: they would be dropped and shift all that follow. */
export function unencodable(tokenizer: FastTokenizer, from: number, to: number): number[] {
  const values = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  return values.filter((value) => {
    const found = tokenizer.decodeCoefficients(tokenizer.encodeCoefficients(Int32Array.of(value)));
    return found.length !== 1 || found[0] !== value;
  });
}
