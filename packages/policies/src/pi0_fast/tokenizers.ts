import { CraftError } from '@craft-ft/torch/errors';
import { ActionTokens } from '../tokenizers/action-tokens.js';
import { FastTokenizer } from '../tokenizers/fast-tokenizer.js';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import type { Pi0FastConfig } from './configuration.js';
import { VARIANT_SIZES } from './sizes.js';

/**
 * The text tokeniser of a configuration, from what is on this machine.
 *
 * @param vocabulary ids that the model embeds. Default: the variant's
 * @throws CraftError `TOKENIZER_…` naming the field, `TOKENIZER_VOCAB_TOO_LARGE` where the model embeds fewer ids
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

// Two flags name tokenisers: the message says which one is meant.
function named<T>(field: keyof Pi0FastConfig, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    throw new CraftError(error.code, `policy.${field}: ${error.message}`, { cause: error });
  }
}
