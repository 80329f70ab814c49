import { CraftError } from '@craft-ft/torch/errors';
import { huggingFaceBackend } from './hf-backend.js';
import { FolderCache, fetchTokenizer, isBuiltin, tokenizerFolder } from './locate.js';

const cache = new FolderCache<TextTokenizer>();

/**
 * Converts text to ids and back. Names are `builtin:bytes` (see `byteTokenizer`), a folder with `tokenizer.json`, or a repository
 * of the Hugging Face Hub, which {@link fetchTokenizer} must download before `loadSync`.
 *
 * @example
 * ```ts
 * const tokenizer = await TextTokenizer.load('google/paligemma-3b-pt-224');
 * tokenizer.encode('Action: '); // [4022, 235292, 235248]
 * ```
 */
export class TextTokenizer {
  /** The name it was loaded by, for messages and configurations. */
  readonly name: string;
  /** Size of the model's vocabulary; FAST codes are mapped downwards from its end. */
  readonly vocabSize: number;
  /** Ids from this one on are never text; 0 if any id may be text. */
  readonly codesFrom: number;
  readonly bosId: number;
  readonly eosId: number;
  /** 0 if the tokeniser has none. */
  readonly padId: number;
  /** The id of unknown tokens; null if the tokeniser has none. */
  readonly unkId: number | null;
  readonly #backend: TextBackend;

  /** @throws CraftError `TOKENIZER_TOKEN_MISSING` if the tokeniser has no BOS or EOS */
  constructor(name: string, backend: TextBackend) {
    this.name = name;
    this.vocabSize = backend.vocabSize;
    this.codesFrom = backend.codesFrom;
    this.bosId = needed(name, 'BOS', backend.special.bos);
    this.eosId = needed(name, 'EOS', backend.special.eos);
    this.padId = backend.special.pad ?? 0;
    this.unkId = backend.special.unk;
    this.#backend = backend;
  }

  /**
   * Loads a tokeniser, downloading it from the Hub if necessary.
   *
   * @throws CraftError `TOKENIZER_MISSING`, `TOKENIZER_INVALID`, `TOKENIZER_TOKEN_MISSING`, `TOKENIZER_NAME`, and `HUB_…`
   */
  static async load(name: string): Promise<TextTokenizer> {
    await fetchTokenizer(name);
    return TextTokenizer.loadSync(name);
  }

  /** As `load`, but only from files on this machine. The same files give the same object. */
  static loadSync(name: string): TextTokenizer {
    if (isBuiltin(name)) return new TextTokenizer(name, byteTokenizer(name));
    const folder = tokenizerFolder(name);
    return cache.get(folder, () => new TextTokenizer(name, huggingFaceBackend(folder)));
  }

  /** Encodes a text, by default without BOS and EOS. */
  encode(text: string, options: { addBos?: boolean; addEos?: boolean } = {}): number[] {
    const ids = this.#backend.encode(text);
    return [...(options.addBos ? [this.bosId] : []), ...ids, ...(options.addEos ? [this.eosId] : [])];
  }

  /** Encodes a prompt with the special tokens that the tokeniser adds by default: BOS in front, for Gemma. */
  encodePrompt(text: string): number[] {
    const { bos, eos } = this.#backend.template;
    return this.encode(text, { addBos: bos, addEos: eos });
  }

  /** Decodes ids; special tokens, and ids that are not text, are skipped. */
  decode(ids: readonly number[]): string {
    return this.#backend.decode(ids);
  }
}

function needed(name: string, what: string, id: number | null): number {
  if (id !== null) return id;
  throw new CraftError(
    'TOKENIZER_TOKEN_MISSING',
    `tokenizer ${name}: has no ${what} token; name one in tokenizer_config.json (${what.toLowerCase()}_token)`,
  );
}

/** The implementation behind a {@link TextTokenizer}. */
export interface TextBackend {
  /** Size of the model's vocabulary, as transformers' `vocab_size`: tokens that were added later do not count. */
  readonly vocabSize: number;
  /** Ids from this one on are never text, as far as known; 0 if any id may be text. */
  readonly codesFrom: number;
  readonly special: { pad: number | null; eos: number | null; bos: number | null; unk: number | null };
  /** Special tokens put around a prompt by default. */
  readonly template: { bos: boolean; eos: boolean };
  /** Encodes a text without special tokens. */
  encode(text: string): number[];
  /** Decodes ids, skipping special tokens. */
  decode(ids: readonly number[]): string;
}

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
function byteTokenizer(name: string): TextBackend {
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
