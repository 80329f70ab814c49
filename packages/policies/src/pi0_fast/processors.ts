import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FAST_TOKENIZER_FOLDER, type PlainObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, CraftError, tensor } from '@craft-ft/torch';
import { z } from 'zod';
import { DeviceStep, RenameStep, ToBatchStep } from '../processors/basic-steps.js';
import {
  type PolicySteps,
  readStepConfig,
  readTokenizeText,
  requireName,
  warningsOf,
} from '../processors/load.js';
import { NormalizerStep, UnnormalizerStep } from '../processors/normalizer.js';
import { PolicyProcessors, ProcessorPipeline } from '../processors/pipeline.js';
import { AbsoluteActionsStep, RelativeActionsStep } from '../processors/relative-actions.js';
import type { StatTensors } from '../processors/stats.js';
import {
  type ProcessorStep,
  type TensorBatch,
  type Texts,
  textsOf,
  type WarningOptions,
} from '../processors/step.js';
import { TokenizeTextStep } from '../processors/tokenize-text.js';
import type { MakeProcessorsOptions } from '../registration.js';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import { ActionTokens } from './action-tokens.js';
import type { Pi0FastConfig } from './configuration.js';
import { FastTokenizer } from './fast/tokenizer.js';

/** The processors of π0-FAST, with LeRobot's steps in LeRobot's order (`processor_pi0_fast.py`). */
export function makePi0FastProcessors(
  config: Pi0FastConfig,
  stats: StatTensors,
  options: MakeProcessorsOptions,
): PolicyProcessors {
  const { input_features: inputs, output_features: outputs, normalization_mapping: normMap } = config;
  const { device, where, onWarning = (message: string) => console.warn(message) } = options;
  return new PolicyProcessors(
    new ProcessorPipeline('policy_preprocessor', [
      new RenameStep(options.renameMap),
      new ToBatchStep(),
      new RelativeActionsStep({
        enabled: config.use_relative_actions,
        excludeJoints: config.relative_exclude_joints,
        actionNames: config.action_feature_names,
      }),
      new NormalizerStep({ features: { ...inputs, ...outputs }, normMap, stats, where }),
      new PromptStep({ maxStateDim: config.max_state_dim }),
      new TokenizeTextStep({
        tokenizerName: config.text_tokenizer_name,
        maxLength: config.tokenizer_max_length,
        onWarning,
      }),
      new TokenizeActionsStep({
        actionTokenizerName: config.action_tokenizer_name,
        textTokenizerName: config.text_tokenizer_name,
        maxActionTokens: config.max_action_tokens,
        fastSkipTokens: config.fast_skip_tokens,
        onWarning,
      }),
      new DeviceStep(device),
    ]),
    new ProcessorPipeline('policy_postprocessor', [
      new UnnormalizerStep({ features: outputs, normMap, stats, where }),
      new AbsoluteActionsStep(config.use_relative_actions),
      new DeviceStep('cpu'),
    ]),
  );
}

const PROMPT_STEP = 'pi0_fast_prepare_state_tokenizer_processor_step';
const TOKENIZE_ACTIONS_STEP = 'action_tokenizer_processor';

const promptSchema = z.looseObject({
  max_state_dim: z.int().min(1).optional(),
  task_key: z.string().default('task'),
});

const tokenizeActionsSchema = z.looseObject({
  action_tokenizer_name: z.string().optional(),
  paligemma_tokenizer_name: z.string().optional(),
  max_action_tokens: z.int().min(1).default(256),
  fast_skip_tokens: z.int().min(0).optional(),
  // Code in a tokeniser's folder is never executed here.
  trust_remote_code: z.boolean().optional(),
});

/**
 * Builders of π0-FAST's saved steps. The policy decodes with the tokenisers and sequence lengths of its configuration, so the
 * processors must use the same.
 */
export const pi0FastSteps: PolicySteps<Pi0FastConfig> = {
  [PROMPT_STEP]: (saved, policy) => {
    const { max_state_dim, task_key: taskKey } = readStepConfig(promptSchema, saved);
    return new PromptStep({ maxStateDim: policy?.max_state_dim ?? max_state_dim, taskKey });
  },
  tokenizer_processor: (saved, policy) =>
    readTokenizeText(saved, {
      tokenizerName: policy?.text_tokenizer_name,
      maxLength: policy?.tokenizer_max_length,
    }),
  [TOKENIZE_ACTIONS_STEP]: (saved, policy) => {
    const config = readStepConfig(tokenizeActionsSchema, saved);
    const { paligemma_tokenizer_name: text = 'google/paligemma-3b-pt-224', action_tokenizer_name: fast } =
      config;
    return new TokenizeActionsStep({
      actionTokenizerName: requireName(saved, 'action_tokenizer_name', policy?.action_tokenizer_name ?? fast),
      textTokenizerName: policy?.text_tokenizer_name ?? text,
      maxActionTokens: policy?.max_action_tokens ?? config.max_action_tokens,
      fastSkipTokens: policy?.fast_skip_tokens ?? config.fast_skip_tokens ?? 128,
      ...warningsOf(saved),
    });
  },
};

const STATE = 'observation.state';

/** Options of {@link PromptStep}. */
interface PromptOptions {
  /** Shorter states are padded with zeros. Default 32. */
  maxStateDim?: number;
  /** Key of the instruction among the texts. Default `task`. */
  taskKey?: string;
}

/**
 * Bin index of a normalised value, with 256 lower edges −1 + k/128: 0 to 255; −1 below the first edge, and 255 from the last one up
 * (NaN too), as numpy's `digitize` gives them.
 */
export function stateBin(value: number): number {
  if (Number.isNaN(value)) return 255;
  return Math.min(255, Math.max(-1, Math.floor((value + 1) * 128)));
}

/** Formats the instruction and the state as π0-FAST's prompt. */
export function statePrompt(task: string, state: readonly number[]): string {
  const text = task.trim().replaceAll('_', ' ').replaceAll('\n', ' ');
  return `Task: ${text}, State: ${state.map(stateBin).join(' ')};\n`;
}

/**
 * Writes the normalised state into the instruction, as LeRobot's `Pi0FastPrepareStateAndLanguageTokenizerProcessorStep`: the text
 * `task` becomes `Task: …, State: 128 7 …;\n`.
 */
export class PromptStep implements ProcessorStep {
  readonly registryName = PROMPT_STEP;
  readonly #maxStateDim: number;
  readonly #taskKey: string;

  constructor({ maxStateDim = 32, taskKey = 'task' }: PromptOptions = {}) {
    this.#maxStateDim = maxStateDim;
    this.#taskKey = taskKey;
  }

  /** @throws CraftError `POLICY_INPUT` without a state, `PROCESSOR_TASK` without instructions or with too few */
  process(batch: TensorBatch, texts: Texts): TensorBatch {
    const state = batch[STATE];
    if (state === undefined)
      throw new CraftError(
        'POLICY_INPUT',
        `the batch has no "${STATE}", which the prompt of the policy needs`,
      );
    const [rows = 0, width = 0] = state.shape;
    const values = state.to({ device: 'cpu', dtype: 'float32' }).toTypedArray() as Float32Array;
    const tasks = textsOf(texts, this.#taskKey, rows);
    texts[this.#taskKey] = tasks.map((task, row) => {
      const own = Array.from(values.subarray(row * width, (row + 1) * width));
      while (own.length < this.#maxStateDim) own.push(0);
      return statePrompt(task, own);
    });
    return batch;
  }

  config(): PlainObject {
    return { max_state_dim: this.#maxStateDim, task_key: this.#taskKey };
  }

  state(): null {
    return null;
  }
}

/** Keys of the tokens of an action chunk, and of their mask. */
export const ACTION_TOKENS = 'action.tokens';
export const ACTION_TOKEN_MASK = 'action.token_mask';

/** Options of {@link TokenizeActionsStep}; names and defaults are LeRobot's. */
interface TokenizeActionsOptions extends WarningOptions {
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
 * `[B, maxActionTokens]`) and `action.token_mask` (bool); `action` is kept. Batches without actions pass unchanged. The tokenisers
 * are loaded with the first actions.
 */
export class TokenizeActionsStep implements ProcessorStep {
  readonly registryName = TOKENIZE_ACTIONS_STEP;
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

  // Vocabularies of the original trainer may lack coefficients, which are then dropped and shift all that follow.
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

  /** Copies a FAST tokeniser from a folder into the checkpoint, which can then be moved to another machine; it is small. */
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
