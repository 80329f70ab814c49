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
 * The text of tokens, as the ByteLevel decoder of Hugging Face's tokenizers: a token with a character that stands for no byte
 * counts as the text it is; what is no UTF-8 becomes U+FFFD.
 */
export function fromByteLevel(tokens: readonly string[]): string {
  const bytes: number[] = [];
  for (const token of tokens) {
    const own = Array.from(token, (character) => BYTES.get(character));
    if (own.every((byte) => byte !== undefined)) bytes.push(...own);
    else bytes.push(...new TextEncoder().encode(token));
  }
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
