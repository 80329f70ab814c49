import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { PlainObject } from '@craft-ft/datasets/json';
import { FAST_TOKENIZER_FOLDER } from '@craft-ft/datasets/json';
import { atomicWriteFile, CraftError, tensor } from '@craft-ft/torch';
import { ActionTokens } from '../tokenizers/action-tokens.js';
import { FastTokenizer } from '../tokenizers/fast-tokenizer.js';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import type { WarningOptions } from './prompt.js';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Keys of the tokens of an action chunk, and of their mask. */
export const ACTION_TOKENS = 'action.tokens';
export const ACTION_TOKEN_MASK = 'action.token_mask';

/** Options of {@link TokenizeActionsStep}; names and defaults are LeRobot's. */
export interface TokenizeActionsOptions extends WarningOptions {
  /** The FAST tokeniser: a folder, or a repository of the Hub. */
  actionTokenizerName: string;
  /** The text tokeniser whose vocabulary the codes are mapped into. */
  textTokenizerName: string;
  /** Default 256. */
  maxActionTokens?: number;
  /** Default 128. */
  fastSkipTokens?: number;
}

/**
 * Tokenises the action chunks of a training batch, as LeRobot's `ActionTokenizerProcessorStep`: adds `action.tokens` (int64,
 * `[B, maxActionTokens]`) and `action.token_mask` (bool); `action` stays. Batches without actions pass. The tokenisers are loaded when
 * the first action comes.
 */
export class TokenizeActionsStep implements ProcessorStep {
  readonly registryName = 'action_tokenizer_processor';
  readonly #options: Required<TokenizeActionsOptions>;
  #tokens: ActionTokens | null = null;
  #warned = false;
  #lossWarned = false;

  constructor(options: TokenizeActionsOptions) {
    this.#options = {
      maxActionTokens: 256,
      fastSkipTokens: 128,
      onWarning: (message) => console.warn(message),
      ...options,
    };
  }

  /** @throws CraftError `POLICY_INPUT` for an action of another shape than `[B, T, a]`, `FAST_INPUT`, and as `ActionTokens` */
  process(batch: TensorBatch): TensorBatch {
    const { action } = batch;
    if (action === undefined) return batch;
    const [rows = 0, steps = 0, width = 0] = action.shape;
    if (action.ndim !== 3)
      throw new CraftError(
        'POLICY_INPUT',
        `"action" has shape [${action.shape}]; chunks are [batch, steps, dimensions]`,
      );
    const tokens = this.#load();
    const values = action.to({ device: 'cpu', dtype: 'float32' }).toTypedArray() as Float32Array;
    const length = this.#options.maxActionTokens;
    const ids = new BigInt64Array(rows * length);
    const mask = new Uint8Array(rows * length);
    const size = steps * width;
    for (let row = 0; row < rows; row++) {
      const chunk = values.subarray(row * size, (row + 1) * size);
      const codes = tokens.fast.encode(chunk, [steps, width]);
      const sequence = tokens.frame(codes, length);
      this.#checkLength(sequence.length);
      this.#checkLoss(tokens, codes, size);
      ids.set(sequence.ids.map(BigInt), row * length);
      mask.set(sequence.mask.map(Number), row * length);
    }
    return {
      ...batch,
      [ACTION_TOKENS]: tensor(ids, { shape: [rows, length] }),
      [ACTION_TOKEN_MASK]: tensor(mask, { shape: [rows, length], dtype: 'bool' }),
    };
  }

  #load(): ActionTokens {
    const { textTokenizerName, actionTokenizerName, fastSkipTokens } = this.#options;
    this.#tokens ??= new ActionTokens({
      text: TextTokenizer.loadSync(textTokenizerName),
      fast: FastTokenizer.loadSync(actionTokenizerName),
      fastSkipTokens,
    });
    return this.#tokens;
  }

  // Vocabularies of the original trainer may lack coefficients, which then vanish and shift all that follow.
  #checkLoss({ fast }: ActionTokens, codes: readonly number[], size: number): void {
    if (this.#lossWarned) return;
    const lost = size - fast.decodeCoefficients(codes).length;
    if (lost === 0) return;
    this.#lossWarned = true;
    this.#options.onWarning(
      `${this.#options.actionTokenizerName} has no codes for ${lost} of a chunk's ${size} coefficients, and the actions learned from ` +
        'it are wrong; train a tokenizer on this dataset (craft tokenizer train; said once)',
    );
  }

  #checkLength(length: number): void {
    const { maxActionTokens, onWarning } = this.#options;
    if (length <= maxActionTokens || this.#warned) return;
    this.#warned = true;
    onWarning(
      `an action chunk of ${length} tokens is cut to ${maxActionTokens}, and its end is not learned; raise ` +
        'policy.max_action_tokens, shorten policy.chunk_size, or train a tokenizer on this dataset (said once)',
    );
  }

  config(): PlainObject {
    const { actionTokenizerName, textTokenizerName, maxActionTokens, fastSkipTokens } = this.#options;
    return {
      trust_remote_code: true,
      max_action_tokens: maxActionTokens,
      fast_skip_tokens: fastSkipTokens,
      paligemma_tokenizer_name: textTokenizerName,
      action_tokenizer_name: actionTokenizerName,
    };
  }

  state(): null {
    return null;
  }

  /** Puts a FAST tokeniser from a folder into the checkpoint, so that it can be carried elsewhere; it is small. */
  saveAssets(dir: string): void {
    const from = this.#options.actionTokenizerName;
    if (!existsSync(join(from, 'tokenizer.json'))) return;
    const folder = join(dir, FAST_TOKENIZER_FOLDER);
    if (resolve(from) === resolve(folder)) return;
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(from)) {
      if (name.endsWith('.json')) atomicWriteFile(join(folder, name), readFileSync(join(from, name)));
    }
  }
}
