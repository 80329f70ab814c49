import { CraftError, cat, full, noGrad, ones, type optim, scope, type Tensor, tensor } from '@craft-ft/torch';
import { ActionQueue } from '../action-queue.js';
import { findFeature, type HiddenStates, Policy, type PolicyOutput } from '../policy.js';
import type { TensorBatch } from '../processors/step.js';
import { LANGUAGE_MASK, LANGUAGE_TOKENS } from '../processors/tokenize-text.js';
import { cameraImages } from '../vlm/camera-images.js';
import { type PaligemmaSizes, VARIANT_SIZES } from '../vlm/paligemma.js';
import { type ActionTokens, loadActionTokens, loadTextTokenizer } from './action-tokens.js';
import type { Pi0FastConfig } from './configuration.js';
import { decodeTokens } from './decoding.js';
import { actionTokenLoss, Pi0FastModel, type Prefix, type Tokens } from './model.js';
import { ACTION_TOKEN_MASK, ACTION_TOKENS } from './processors.js';

const LANGUAGE = [LANGUAGE_TOKENS, LANGUAGE_MASK] as const;
const ACTION = [ACTION_TOKENS, ACTION_TOKEN_MASK] as const;

/** Decodes generated tokens to actions; implemented by `ActionTokens`. */
export type ActionDetokenizer = Pick<ActionTokens, 'bosId' | 'endId' | 'decode'>;

/**
 * π0-FAST as LeRobot's `modeling_pi0_fast.py: PI0FastPolicy`: reads camera images and a prompt with instruction and state, and
 * generates the next chunk of actions as FAST tokens.
 *
 * A batch holds images by camera key in [0, 1], `observation.language.tokens` and `.attention_mask`, and in training
 * `action.tokens` and `action.token_mask`. Metrics of the loss are `ce_loss` and `token_accuracy`. The tokenisers are loaded on
 * first use: they are needed only to decode actions and to add BOS.
 *
 * @example
 * ```ts
 * const policy = makePolicy(config, { features: dataset.features });
 * const { loss } = policy.call(processors.preprocess(batch, { task: ['pick up the apple'] }));
 * loss.backward();
 * ```
 */
export class Pi0FastPolicy extends Policy<Pi0FastConfig> {
  readonly model: Pi0FastModel;
  readonly #queue: ActionQueue;
  readonly #actionDim: number;
  #detokenizer: ActionDetokenizer | null = null;
  #warned = false;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning: (message: string) => void = (message) => console.warn(message);

  /**
   * @param sizes of the network, if not the variant's
   * @throws CraftError `POLICY_FEATURES` if there is no action, or it is not a vector
   */
  constructor(config: Pi0FastConfig, sizes: PaligemmaSizes = VARIANT_SIZES[config.paligemma_variant]) {
    super(config);
    this.model = new Pi0FastModel(config, sizes);
    this.#queue = new ActionQueue(config.n_action_steps);
    this.#actionDim = actionSize(config);
  }

  /** Replaces the tokenisers that the configuration names. */
  useDetokenizer(detokenizer: ActionDetokenizer): void {
    this.#detokenizer = detokenizer;
  }

  override forward(batch: TensorBatch): PolicyOutput {
    const actions = this.tokens(batch, ACTION, this.config.max_action_tokens);
    const encoded = this.model.call(this.prefix(batch), actions);
    const { loss, accuracy, count } = actionTokenLoss(this.model, encoded, actions);
    return { loss, metrics: { ce_loss: loss.detach(), token_accuracy: accuracy }, count };
  }

  /**
   * Tokens that do not decode give LeRobot's fallback: as much as can be decoded, and zeros for the rest.
   *
   * @returns `[B, chunk_size, a]`, normalised. (LeRobot decodes with `n_action_steps` as the length of the DCT, which gives other
   * actions if the two differ.)
   * @throws CraftError `POLICY_INPUT`, `TOKENIZER_…` if a tokeniser is missing
   */
  override predictActionChunk(batch: TensorBatch): Tensor {
    const { chunk_size: chunk } = this.config;
    this.onPrediction?.();
    const actions = this.generateTokens(batch).map((tokens) => {
      const { actions: decoded, problem } = this.detokenizer.decode(tokens, chunk, this.#actionDim);
      if (problem !== null) this.warnOnce(problem);
      return decoded;
    });
    return tensor(actions.flat(2), {
      dtype: 'float32',
      shape: [actions.length, chunk, this.#actionDim],
    }).to(this.device);
  }

  /** Generates the action tokens for a batch: `max_decoding_steps` per row, 0 after "|". */
  generateTokens(batch: TensorBatch): number[][] {
    const { max_decoding_steps: maxSteps, temperature, use_kv_cache: cache } = this.config;
    const { endId } = this.detokenizer;
    return scope(() =>
      this.evaluating(() =>
        decodeTokens(this.model, this.prefixWithBos(batch), { maxSteps, temperature, endId, cache }),
      ),
    );
  }

  override selectAction(observation: TensorBatch): Tensor {
    return this.#queue.next(() => this.predictActionChunk(observation));
  }

  override get queuedActions(): number {
    return this.#queue.left;
  }

  override reset(): void {
    this.#queue.reset();
  }

  /** Hidden states of the decoder on images, language and BOS, as at the start of decoding; images and language attend to BOS. */
  override hiddenStates(batch: TensorBatch): HiddenStates {
    return scope(() => {
      const { states, valid, imageLength } = this.model.call(this.prefixWithBos(batch), null);
      const layers = [...states.slice(0, -1), this.model.normalise(states.at(-1)!)];
      return { layers, mask: valid, image: { start: 0, length: imageLength } };
    });
  }

  override parameterGroups(): optim.ParameterGroup[] {
    return [{ parameters: this.namedParameters().filter(([, parameter]) => parameter.requiresGrad) }];
  }

  // Without a warning, nobody would know why the robot does not move.
  private warnOnce(problem: string): void {
    if (this.#warned) return;
    this.#warned = true;
    this.onWarning(
      `pi0_fast wrote action tokens that do not decode: ${problem}; what cannot be read of a chunk is 0 (said once)`,
    );
  }

  private get device(): string {
    return this.model.paligemma.lmHead.weight.device;
  }

  private get detokenizer(): ActionDetokenizer {
    this.#detokenizer ??= loadActionTokens(this.config, this.model.sizes.text.vocabSize);
    return this.#detokenizer;
  }

  private prefix(batch: TensorBatch): Prefix {
    const language = this.tokens(batch, LANGUAGE, this.config.tokenizer_max_length);
    const cameras = cameraImages(batch, this.config, this.device);
    if (cameras === null) return { images: null, language };
    return {
      images: { features: this.model.imageFeatures(cameras.images), mask: cameras.mask },
      language,
    };
  }

  private get bosId(): number {
    return (this.#detokenizer ?? loadTextTokenizer(this.config, this.model.sizes.text.vocabSize)).bosId;
  }

  // BOS comes after the padding of the language tokens.
  private prefixWithBos(batch: TensorBatch): Prefix {
    const { images, language } = this.prefix(batch);
    const size = language.ids.size(0);
    const { device } = this;
    const bos = full([size, 1], this.bosId, { dtype: 'int64', device });
    const one = ones([size, 1], { dtype: 'bool', device });
    return { images, language: { ids: cat([language.ids, bos], 1), mask: cat([language.mask, one], 1) } };
  }

  private tokens(batch: TensorBatch, keys: readonly [string, string], longest: number): Tokens {
    const [ids, mask] = keys.map((key) => {
      const values = batch[key];
      if (values === undefined) {
        const remedy = "it comes from the policy's preprocessor; the batch has";
        throw refuse(`"${key}" is missing: ${remedy} ${Object.keys(batch).join(', ')}`);
      }
      if (values.ndim !== 2 || values.size(1) > longest || values.size(1) === 0) {
        throw refuse(`"${key}" has shape [${values.shape.join(', ')}], expected [batch, 1 to ${longest}]`);
      }
      return values;
    }) as [Tensor, Tensor];
    if (ids.shape.join() !== mask.shape.join()) {
      throw refuse(`"${keys[0]}" has shape [${ids.shape}], "${keys[1]}" [${mask.shape}]`);
    }
    const vocabulary = this.model.sizes.text.vocabSize;
    const largest = Number(ids.max().item());
    if (largest >= vocabulary) {
      const remedy = 'policy.text_tokenizer_name belongs to a larger paligemma_variant';
      throw refuse(`"${keys[0]}" has the id ${largest}, the model knows ${vocabulary}: ${remedy}`);
    }
    const { device } = this;
    return noGrad(() => ({
      ids: ids.to({ device, dtype: 'int64' }),
      mask: mask.to({ device, dtype: 'bool' }),
    }));
  }
}

function refuse(message: string): CraftError {
  return new CraftError('POLICY_INPUT', message);
}

function actionSize(config: Pi0FastConfig): number {
  const action = findFeature(config.output_features, (name, type) => type === 'ACTION' && name === 'action');
  if (action?.shape.length === 1) return action.shape[0]!;
  const found = action === undefined ? 'none' : `shape [${action.shape}]`;
  throw new CraftError(
    'POLICY_FEATURES',
    `policy.output_features: pi0_fast needs a vector "action" of type ACTION, found ${found}; map the dataset's name with --rename_map`,
  );
}
