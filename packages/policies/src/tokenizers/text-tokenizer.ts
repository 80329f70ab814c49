import { CraftError } from '@craft-ft/torch/errors';
import { byteTokenizer } from './byte-tokenizer.js';
import { huggingFaceBackend } from './hf-backend.js';
import { FolderCache, fetchTokenizer, isBuiltin, tokenizerFolder } from './locate.js';
import type { TextBackend } from './text-backend.js';

const cache = new FolderCache<TextTokenizer>();

/**
 * Text to ids and back. Names are `builtin:bytes` (see `byteTokenizer`), a folder with `tokenizer.json`, or a repository of
 * the Hugging Face Hub, which {@link fetchTokenizer} has to bring here before `loadSync`.
 *
 * @example
 * ```ts
 * const tokenizer = await TextTokenizer.load('google/paligemma-3b-pt-224');
 * tokenizer.encode('Action: '); // [4022, 235292, 235248]
 * ```
 */
export class TextTokenizer {
  /** As it was loaded, for messages and configurations. */
  readonly name: string;
  /** Ids of the model; FAST codes are mapped downwards from the end of these. */
  readonly vocabSize: number;
  /** Ids from here on are never text; 0 where any may be. */
  readonly codesFrom: number;
  readonly bosId: number;
  readonly eosId: number;
  /** 0 where the tokeniser has none. */
  readonly padId: number;
  /** The id of what is not in the vocabulary; null where the tokeniser has none. */
  readonly unkId: number | null;
  readonly #backend: TextBackend;

  /** @throws CraftError `TOKENIZER_TOKEN_MISSING` where the tokeniser has no BOS or EOS */
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
   * Loads a tokeniser, from the Hub if need be.
   *
   * @throws CraftError `TOKENIZER_MISSING`, `TOKENIZER_INVALID`, `TOKENIZER_TOKEN_MISSING`, `TOKENIZER_NAME`, and `HUB_…`
   */
  static async load(name: string): Promise<TextTokenizer> {
    await fetchTokenizer(name);
    return TextTokenizer.loadSync(name);
  }

  /** As `load`, from what is on this machine. The same files give the same object. */
  static loadSync(name: string): TextTokenizer {
    if (isBuiltin(name)) return new TextTokenizer(name, byteTokenizer(name));
    const folder = tokenizerFolder(name);
    return cache.get(folder, () => new TextTokenizer(name, huggingFaceBackend(folder)));
  }

  /** Ids of a text. By default of the text alone. */
  encode(text: string, options: { addBos?: boolean; addEos?: boolean } = {}): number[] {
    const ids = this.#backend.encode(text);
    return [...(options.addBos ? [this.bosId] : []), ...ids, ...(options.addEos ? [this.eosId] : [])];
  }

  /** Ids of a prompt, with what the tokeniser puts around it by itself: Gemma's puts BOS before it. */
  encodePrompt(text: string): number[] {
    const { bos, eos } = this.#backend.template;
    return this.encode(text, { addBos: bos, addEos: eos });
  }

  /** The text of ids; special tokens, and ids that are no text, are left out. */
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
