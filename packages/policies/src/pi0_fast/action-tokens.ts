import { CraftError } from '@craft-ft/torch/errors';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import { VARIANT_SIZES } from '../vlm/paligemma.js';
import type { Pi0FastConfig } from './configuration.js';
import { type ActionChunk, FastTokenizer } from './fast/tokenizer.js';

const PREFIX = 'Action: ';
const SUFFIX = '|';

/** A chunk as the tokens that a policy learns to predict; every array has `maxTokens` entries. */
interface ActionSequence {
  /** Padded with 0. */
  ids: number[];
  /** False for padding. */
  mask: boolean[];
  /** True for FAST codes only, false for BOS, the prefix, the end and padding. */
  codeMask: boolean[];
  /** Tokens before truncation. */
  length: number;
}

/** Actions from generated tokens. */
interface DecodedActions {
  /** `[T][D]`, normalised; 0 where the tokens cannot be decoded. */
  actions: number[][];
  /** What is wrong with the tokens; null if they are well formed. */
  problem: string | null;
}

/** Options of {@link ActionTokens}. */
interface ActionTokensOptions {
  text: TextTokenizer;
  fast: FastTokenizer;
  /** Ids at the end of the text vocabulary that FAST codes leave free. Default 128: PaliGemma's segmentation tokens. */
  fastSkipTokens?: number;
  /** Whether decoding requires the prefix. Default true. */
  validatePrefix?: boolean;
  /** Whether EOS follows "|". Default true, as LeRobot. */
  addEos?: boolean;
}

/**
 * Action chunks as tokens of a text model, as LeRobot's `ActionTokenizerProcessorStep` and `PI0FastPolicy.detokenize_actions`: BOS,
 * "Action: ", the FAST codes, "|", EOS. Code c is the text id `vocabulary size - 1 - fastSkipTokens - c`.
 */
export class ActionTokens {
  readonly text: TextTokenizer;
  readonly fast: FastTokenizer;
  readonly bosId: number;
  readonly eosId: number;
  /** The id of "|", which ends the codes. */
  readonly endId: number;
  /** Ids of "Action: ". */
  readonly prefixIds: readonly number[];
  readonly #offset: number;
  readonly #validatePrefix: boolean;
  readonly #addEos: boolean;

  /**
   * @throws CraftError `TOKENIZER_TOKEN_MISSING` where "|" is not one token or "Action: " has unknown ones,
   * `TOKENIZER_VOCAB_TOO_SMALL` if the text vocabulary has no room for the FAST codes
   */
  constructor({
    text,
    fast,
    fastSkipTokens = 128,
    validatePrefix = true,
    addEos = true,
  }: ActionTokensOptions) {
    this.text = text;
    this.fast = fast;
    this.bosId = text.bosId;
    this.eosId = text.eosId;
    this.prefixIds = text.encode(PREFIX);
    const end = text.encode(SUFFIX);
    if (end.length !== 1 || end[0] === text.unkId) throw lacking(text, SUFFIX, end.length);
    if (this.prefixIds.length === 0 || this.prefixIds.includes(text.unkId ?? -1))
      throw lacking(text, PREFIX, 0);
    this.endId = end[0]!;
    this.#validatePrefix = validatePrefix;
    this.#addEos = addEos;
    this.#offset = text.vocabSize - 1 - fastSkipTokens;
    this.#checkRoom(fastSkipTokens);
  }

  /** Maps a FAST code to its text id, and vice versa. */
  map(id: number): number {
    return this.#offset - id;
  }

  /** Codes must not collide with the tokens around them nor, as far as known, with text. */
  #checkRoom(skip: number): void {
    const { text, fast } = this;
    const lowest = this.map(fast.vocabSize - 1);
    const frame = [text.padId, this.bosId, this.eosId, this.endId, ...this.prefixIds];
    const used = frame.filter((id) => id >= lowest && id <= this.map(0));
    if (lowest >= text.codesFrom && used.length === 0) return;
    const needed = fast.vocabSize + skip + (text.codesFrom === 0 ? Math.max(...frame) + 1 : text.codesFrom);
    throw new CraftError(
      'TOKENIZER_VOCAB_TOO_SMALL',
      `tokenizer ${text.name}: its ${text.vocabSize} ids have no room for ${fast.vocabSize} FAST codes beside ` +
        `fast_skip_tokens=${skip}; take a text tokenizer of at least ${needed} ids, a smaller FAST vocabulary, or skip fewer tokens`,
    );
  }

  /** The token sequence of a chunk that is already encoded as FAST ids. */
  frame(fastIds: readonly number[], maxTokens: number): ActionSequence {
    const before = [this.bosId, ...this.prefixIds];
    const codes = fastIds.map((id) => this.map(id));
    const tokens = [...before, ...codes, this.endId, ...(this.#addEos ? [this.eosId] : [])];
    const at = <T>(value: (i: number) => T): T[] => Array.from({ length: maxTokens }, (_, i) => value(i));
    return {
      ids: at((i) => tokens[i] ?? 0),
      mask: at((i) => i < tokens.length),
      codeMask: at((i) => i >= before.length && i < before.length + codes.length),
      length: tokens.length,
    };
  }

  /**
   * Tokens of a chunk, cut or padded to `maxTokens`.
   *
   * @param shape `[T, D]`; optional for nested arrays
   */
  encode(chunk: ActionChunk, maxTokens: number, shape?: readonly [number, number]): ActionSequence {
    return this.frame(this.fast.encode(chunk, shape), maxTokens);
  }

  /**
   * Decodes generated tokens: cuts at the first "|", removes "Action: " wherever it occurs, maps the rest back to FAST codes and
   * decodes them, with 0 for whatever is missing. Never throws: if the prefix is required and missing, all actions are 0.
   */
  decode(tokens: readonly number[], timeHorizon: number, actionDim: number): DecodedActions {
    const generated = tokens[0] === this.bosId ? tokens.slice(1) : tokens;
    const end = generated.indexOf(this.endId);
    const body = end < 0 ? generated : generated.slice(0, end);
    // LeRobot ignores the space at the end of the prefix.
    const head = this.prefixIds.slice(0, Math.max(1, this.prefixIds.length - 1));
    if (this.#validatePrefix && !head.every((id, i) => body[i] === id)) {
      return {
        actions: Array.from({ length: timeHorizon }, () => Array<number>(actionDim).fill(0)),
        problem: `the tokens do not begin with "${PREFIX.trim()}"`,
      };
    }
    const ids = this.#withoutPrefixes(body).map((token) => this.map(token));
    return {
      actions: this.fast.decode(ids, timeHorizon, actionDim),
      problem: this.#problem(ids, end < 0, timeHorizon * actionDim),
    };
  }

  #withoutPrefixes(tokens: readonly number[]): number[] {
    const result: number[] = [];
    for (let i = 0; i < tokens.length; i++) {
      if (this.prefixIds.every((id, k) => tokens[i + k] === id)) i += this.prefixIds.length - 1;
      else result.push(tokens[i]!);
    }
    return result;
  }

  #problem(ids: readonly number[], endless: boolean, expected: number): string | null {
    const foreign = ids.filter((id) => id < 0 || id >= this.fast.vocabSize).length;
    if (endless) return 'the tokens have no end';
    if (foreign > 0) return `${foreign} tokens are no FAST codes`;
    const found = this.fast.decodeCoefficients(ids).length;
    return found === expected ? null : `the tokens give ${found} coefficients, expected ${expected}`;
  }
}

function lacking(text: TextTokenizer, what: string, tokens: number): CraftError {
  const found = tokens > 1 ? `splits "${what}" into ${tokens} tokens` : `has no token for "${what}"`;
  return new CraftError(
    'TOKENIZER_TOKEN_MISSING',
    `tokenizer ${text.name}: ${found}, which action tokens need; take PaliGemma's or builtin:bytes`,
  );
}

/**
 * Loads the text tokeniser of a configuration from files on this machine.
 *
 * @param vocabulary number of ids that the model embeds. Default: the variant's
 * @throws CraftError `TOKENIZER_…` naming the field, `TOKENIZER_VOCAB_TOO_LARGE` if the model embeds fewer ids
 */
export function loadTextTokenizer(
  config: Pi0FastConfig,
  vocabulary: number = VARIANT_SIZES[config.paligemma_variant].text.vocabSize,
): TextTokenizer {
  const text = named('text_tokenizer_name', () => TextTokenizer.loadSync(config.text_tokenizer_name));
  if (text.vocabSize <= vocabulary) return text;
  throw new CraftError(
    'TOKENIZER_VOCAB_TOO_LARGE',
    `policy.text_tokenizer_name=${text.name} has ${text.vocabSize} ids, ${config.paligemma_variant} embeds ${vocabulary}; ` +
      'take builtin:bytes, or a larger policy.paligemma_variant',
  );
}

/**
 * Both tokenisers of a configuration, checked against each other and against the model.
 *
 * @throws CraftError as {@link loadTextTokenizer} and {@link ActionTokens}
 */
export function loadActionTokens(config: Pi0FastConfig, vocabulary?: number): ActionTokens {
  return new ActionTokens({
    text: loadTextTokenizer(config, vocabulary),
    fast: named('action_tokenizer_name', () => FastTokenizer.loadSync(config.action_tokenizer_name)),
    fastSkipTokens: config.fast_skip_tokens,
    validatePrefix: config.validate_action_token_prefix,
  });
}

// Two flags name tokenisers: the message names the one at fault.
function named<T>(field: keyof Pi0FastConfig, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    throw new CraftError(error.code, `policy.${field}: ${error.message}`, { cause: error });
  }
}
