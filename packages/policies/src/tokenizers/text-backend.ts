/** What a {@link TextTokenizer} is made of. */
export interface TextBackend {
  /** Ids of the model itself, as transformers' `vocab_size`: tokens that were added later do not count. */
  readonly vocabSize: number;
  /** Ids from here on are never text, where that is known; 0 where any id may be. */
  readonly codesFrom: number;
  readonly special: { pad: number | null; eos: number | null; bos: number | null; unk: number | null };
  /** What is put around a prompt unless said otherwise. */
  readonly template: { bos: boolean; eos: boolean };
  /** Ids of a text alone. */
  encode(text: string): number[];
  /** The text of ids, special ones left out. */
  decode(ids: readonly number[]): string;
}
