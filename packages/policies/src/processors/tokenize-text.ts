import type { PlainObject } from '@craft-ft/datasets/json';
import { tensor } from '@craft-ft/torch';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import type { ProcessorStep, TensorBatch, Texts } from './step.js';
import { textsOf, type WarningOptions } from './step.js';

/** Keys of the tokens of a prompt, and of their mask. */
export const LANGUAGE_TOKENS = 'observation.language.tokens';
export const LANGUAGE_MASK = 'observation.language.attention_mask';

/** Options of {@link TokenizeTextStep}; names and defaults are LeRobot's. */
interface TokenizeTextOptions extends WarningOptions {
  /** A built-in tokeniser, a folder, or a repository of the Hub. */
  tokenizerName: string;
  /** Default 512. */
  maxLength?: number;
  taskKey?: string;
  paddingSide?: 'left' | 'right';
  /** `max_length`: always `maxLength` tokens; `longest`: as many as the longest prompt in the batch. */
  padding?: 'max_length' | 'longest';
  truncation?: boolean;
}

/**
 * Tokenises the instructions, as LeRobot's `TokenizerProcessorStep`: adds `observation.language.tokens` (int64, `[B, L]`) and
 * `observation.language.attention_mask` (bool). The tokeniser is loaded with the first batch.
 */
export class TokenizeTextStep implements ProcessorStep {
  readonly registryName = 'tokenizer_processor';
  readonly #options: Required<TokenizeTextOptions>;
  #tokenizer: TextTokenizer | null = null;
  #warned = false;

  constructor(options: TokenizeTextOptions) {
    this.#options = {
      maxLength: 512,
      taskKey: 'task',
      paddingSide: 'right',
      padding: 'max_length',
      truncation: true,
      onWarning: (message) => console.warn(message),
      ...options,
    };
  }

  /** @throws CraftError `PROCESSOR_TASK`, and as `TextTokenizer.loadSync` */
  process(batch: TensorBatch, texts: Texts): TensorBatch {
    const { tokenizerName, maxLength, taskKey, padding, paddingSide } = this.#options;
    this.#tokenizer ??= TextTokenizer.loadSync(tokenizerName);
    const tokenizer = this.#tokenizer;
    const rows = batch['observation.state']?.shape[0] ?? texts[taskKey]?.length ?? 0;
    const ids = textsOf(texts, taskKey, rows).map((text) => this.#fit(tokenizer.encodePrompt(text)));
    const longest = Math.max(0, ...ids.map((own) => own.length));
    const width = padding === 'max_length' ? Math.max(maxLength, longest) : longest;
    const tokens = new BigInt64Array(rows * width).fill(BigInt(tokenizer.padId));
    const mask = new Uint8Array(rows * width);
    ids.forEach((own, row) => {
      const start = row * width + (paddingSide === 'right' ? 0 : width - own.length);
      tokens.set(own.map(BigInt), start);
      mask.fill(1, start, start + own.length);
    });
    return {
      ...batch,
      [LANGUAGE_TOKENS]: tensor(tokens, { shape: [rows, width] }),
      [LANGUAGE_MASK]: tensor(mask, { shape: [rows, width], dtype: 'bool' }),
    };
  }

  #fit(ids: number[]): number[] {
    const { maxLength, truncation, onWarning } = this.#options;
    if (!truncation || ids.length <= maxLength) return ids;
    if (!this.#warned) {
      onWarning(
        `a prompt of ${ids.length} tokens is cut to ${maxLength}; raise policy.tokenizer_max_length if that loses the state ` +
          '(said once)',
      );
    }
    this.#warned = true;
    return ids.slice(0, maxLength);
  }

  config(): PlainObject {
    const { tokenizerName, maxLength, taskKey, paddingSide, padding, truncation } = this.#options;
    return {
      max_length: maxLength,
      task_key: taskKey,
      padding_side: paddingSide,
      padding,
      truncation,
      tokenizer_name: tokenizerName,
    };
  }

  state(): null {
    return null;
  }
}
