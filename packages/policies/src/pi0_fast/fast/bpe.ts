import TinyQueue from 'tinyqueue';

/** Two tokens that become one. */
export type Merge = readonly [left: string, right: string];

/** How text is split before merging: into GPT-2's pieces, as byte characters, or not at all. */
export type PieceMode = 'bytes' | 'plain';

/** Limits of the cache of pieces, in entries and in characters per piece: short pieces recur all the time. */
const CACHED_PIECES = 20_000;
const CACHED_LENGTH = 64;

/**
 * Byte-pair encoding over a vocabulary, with the ids that Hugging Face's tokenizers give: characters that are not in the vocabulary
 * are dropped (there is no unknown token), then the earliest learned merge is applied first, leftmost first.
 */
export class Bpe {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: readonly Merge[];
  readonly mode: PieceMode;
  readonly #tokens: ReadonlyMap<number, string>;
  /** Rank of each merge by its pair of ids, and the id it produces. */
  readonly #ranks = new Map<number, number>();
  readonly #merged: number[] = [];
  readonly #base: number;
  readonly #cache = new Map<string, readonly number[]>();

  constructor(vocabulary: ReadonlyMap<string, number>, merges: readonly Merge[], mode: PieceMode) {
    this.vocabulary = vocabulary;
    this.merges = merges;
    this.mode = mode;
    this.#tokens = new Map([...vocabulary].map(([token, id]) => [id, token]));
    this.#base = 1 + [...vocabulary.values()].reduce((max, id) => Math.max(max, id), 0);
    merges.forEach(([left, right], rank) => {
      const [a, b, merged] = [left, right, left + right].map((token) => vocabulary.get(token));
      if (a === undefined || b === undefined || merged === undefined) return;
      this.#ranks.set(a * this.#base + b, rank);
      this.#merged[rank] = merged;
    });
  }

  /** Every id is below it: the number of tokens, unless a file leaves ids out. */
  get size(): number {
    return this.#base;
  }

  encode(text: string): number[] {
    const pieces = this.mode === 'bytes' ? byteLevelPieces(text) : [text];
    const ids: number[] = [];
    for (const piece of pieces) for (const id of this.#encodePiece(piece)) ids.push(id);
    return ids;
  }

  /** The text of ids; unknown ids are skipped. */
  decode(ids: readonly number[]): string {
    const tokens = ids.flatMap((id) => this.#tokens.get(id) ?? []);
    return this.mode === 'bytes' ? fromByteLevel(tokens) : tokens.join('');
  }

  #encodePiece(piece: string): readonly number[] {
    const known = this.#cache.get(piece);
    if (known !== undefined) return known;
    const ids = this.#mergeAll(
      Array.from(piece, (character) => this.vocabulary.get(character)).filter((id) => id !== undefined),
    );
    if (piece.length <= CACHED_LENGTH && this.#cache.size < CACHED_PIECES) this.#cache.set(piece, ids);
    return ids;
  }

  #mergeAll(ids: number[]): number[] {
    const { length } = ids;
    if (length < 2) return ids;
    // A linked list over places; a merge keeps the left place and empties the right one.
    const next = ids.map((_, i) => i + 1);
    const previous = ids.map((_, i) => i - 1);
    // Candidates are rank · length + place: the earliest merge first, then the leftmost place.
    const queue = new TinyQueue<number>([], (a, b) => a - b);
    const rankAt = (at: number): number | undefined => {
      const after = next[at]!;
      return after < length ? this.#ranks.get(ids[at]! * this.#base + ids[after]!) : undefined;
    };
    const offer = (at: number): void => {
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank * length + at);
    };
    for (let i = 0; i + 1 < length; i++) offer(i);
    for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
      const at = top % length;
      const rank = (top - at) / length;
      // Either token may have gone into another merge since.
      if (ids[at] === -1 || rankAt(at) !== rank) continue;
      const second = next[at]!;
      ids[at] = this.#merged[rank]!;
      ids[second] = -1;
      next[at] = next[second]!;
      if (next[at]! < length) previous[next[at]!] = at;
      if (previous[at]! >= 0) offer(previous[at]!);
      offer(at);
    }
    return ids.filter((id) => id >= 0);
  }
}

/** GPT-2's pieces: contractions, words, numbers, other characters, white space; merges never cross them. */
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** GPT-2's printable character for every byte: those that are printable stand for themselves, the others for U+0100 and on. */
const CHARACTERS = byteCharacters();
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));

function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

/** The pieces of a text, each as characters that stand for its UTF-8 bytes. */
export function byteLevelPieces(text: string): string[] {
  return (text.match(PIECES) ?? []).map((piece) => byteLevel(piece));
}

/** The characters that stand for a text's UTF-8 bytes. */
export function byteLevel(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => CHARACTERS[byte]!).join('');
}

/**
 * The text of tokens, as the ByteLevel decoder of Hugging Face's tokenizers: a token with a character that stands for no byte is
 * taken literally; invalid UTF-8 becomes U+FFFD.
 */
function fromByteLevel(tokens: readonly string[]): string {
  const bytes: number[] = [];
  for (const token of tokens) {
    const own = Array.from(token, (character) => BYTES.get(character));
    if (own.every((byte) => byte !== undefined)) bytes.push(...own);
    else bytes.push(...new TextEncoder().encode(token));
  }
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
