import { Bpe, type Merge, type PieceMode } from './bpe.js';
import { byteLevelPieces } from './byte-level.js';
import { Heap } from './heap.js';

export interface BpeTrainingOptions {
  /** Tokens to end with; fewer where no pair is frequent enough. */
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
 * code point; then the most frequent pair of neighbours within a piece becomes a token (of equals the one with the smaller left,
 * then right id), until the vocabulary is full. A merge whose text is a token already reuses that token's id.
 */
export function trainBpe(texts: Iterable<string>, options: BpeTrainingOptions): Bpe {
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
  const heap = new Heap<Pair>(comesFirst);
  for (const pair of counts.take()) heap.push(pair);
  const merges: Merge[] = [];
  while (ids.size < vocabSize) {
    const top = heap.pop();
    if (top === undefined) break;
    const count = counts.get(top.left, top.right);
    if (top.count !== count) {
      top.count = count;
      heap.push(top);
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
    for (const pair of counts.take()) heap.push(pair);
    onProgress(ids.size);
  }
  return new Bpe(ids, merges, mode);
}

function comesFirst(a: Pair, b: Pair): boolean {
  if (a.count !== b.count) return a.count > b.count;
  return a.left < b.left || (a.left === b.left && a.right < b.right);
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
