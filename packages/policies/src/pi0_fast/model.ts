import { arange, cat, nn, ones, type Tensor } from '@craft-ft/torch';
import type { KvCache } from '../vlm/attention.js';
import { makeWeights, PaliGemma, type PaligemmaSizes } from '../vlm/paligemma.js';
import type { Pi0FastConfig } from './configuration.js';

/** Token ids int64 `[B, N]` and which of them are valid, bool `[B, N]`. */
export interface Tokens {
  ids: Tensor;
  mask: Tensor;
}

/** The model's input before the action tokens. */
export interface Prefix {
  /** Output of `imageFeatures` and, per camera, whether it is present (bool `[B, cameras]`); null without cameras. */
  images: { features: Tensor; mask: Tensor } | null;
  language: Tokens;
}

/** The decoder's output for a sequence, and its masks. */
export interface Encoded extends SequenceMasks {
  /** Embeddings, then the output of every layer, not normalised: `[B, L, width]` each. */
  states: Tensor[];
  /** Tokens of all cameras, at the start. */
  imageLength: number;
  /** Tokens of images and language. */
  prefixLength: number;
}

// The level between the policy's model and PaliGemma in LeRobot's names.
class PaligemmaWithExpert extends nn.Module {
  readonly paligemma: PaliGemma;

  constructor(sizes: PaligemmaSizes, resolution: readonly [number, number]) {
    super();
    this.paligemma = new PaliGemma(sizes, resolution);
  }

  override forward(): never {
    throw new Error('called through Pi0FastModel');
  }
}

/**
 * The network of π0-FAST as LeRobot's `modeling_pi0_fast.py: PI0FastPytorch`, under its parameter names. A sequence is the image
 * tokens of every camera, the language tokens, the action tokens.
 */
export class Pi0FastModel extends nn.Module {
  readonly paligemmaWithExpert: PaligemmaWithExpert;
  readonly sizes: PaligemmaSizes;
  readonly #checkpointing: boolean;

  /**
   * Random weights (none within `nn.init.withoutInit`), decided by `torch.manualSeed`, in the configuration's dtype.
   *
   * @param sizes those of the configuration's variant, or others
   */
  constructor(config: Pi0FastConfig, sizes: PaligemmaSizes) {
    super();
    this.sizes = sizes;
    this.#checkpointing = config.gradient_checkpointing;
    this.paligemmaWithExpert = nn.init.withoutInit(
      () => new PaligemmaWithExpert(sizes, config.image_resolution),
    );
    makeWeights(this, config.dtype);
  }

  get paligemma(): PaliGemma {
    return this.paligemmaWithExpert.paligemma;
  }

  private get checkpointing(): boolean {
    return this.#checkpointing && this.training;
  }

  /**
   * All cameras through the vision tower and the projector at once. Not scaled.
   *
   * @param images float32 in [-1, 1], `[B, cameras, 3, height, width]`
   * @returns `[B, cameras · patches, width]`, camera by camera
   */
  imageFeatures(images: Tensor): Tensor {
    const { visionTower, multiModalProjector } = this.paligemma.model;
    const seen = visionTower.call(images.flatten(0, 1), this.checkpointing);
    const features = multiModalProjector.call(seen);
    return features.reshape([images.size(0), -1, features.size(-1)]);
  }

  /**
   * Runs the decoder over a prefix and, in training, the action tokens.
   *
   * @param actions null: the prefix only, as when decoding starts
   * @param cache takes the keys and values; without a graph only
   */
  override forward(prefix: Prefix, actions: Tokens | null, cache: KvCache | null = null): Encoded {
    const { languageModel } = this.paligemma.model;
    const { images, language } = prefix;
    // A single lookup for all tokens: the gradient of each lookup is as large as the whole table.
    const embedded = languageModel.embed(
      actions === null ? language.ids : cat([language.ids, actions.ids], 1),
    );
    const imageLength = images === null ? 0 : images.features.size(1);
    const x = images === null ? embedded : cat([images.features, embedded], 1);
    const masks = sequenceMasks(prefixMask(prefix), actions?.mask ?? null);
    const states = languageModel.call(x, masks.positions, masks.allowed, {
      cache,
      checkpointing: this.checkpointing && cache === null,
    });
    return { ...masks, states, imageLength, prefixLength: imageLength + language.ids.size(1) };
  }

  /** Final norm. */
  normalise(hidden: Tensor): Tensor {
    return this.paligemma.model.languageModel.norm.call(hidden);
  }

  /** Logits in float32 of hidden states after the final norm. */
  logits(hidden: Tensor): Tensor {
    return this.paligemma.call(hidden).to('float32');
  }
}

function prefixMask({ images, language }: Prefix): Tensor {
  if (images === null) return language.mask;
  const { features, mask } = images;
  return cat([mask.repeatInterleave(features.size(1) / mask.size(1), 1), language.mask], 1);
}

/** Who attends to whom in a sequence of a prefix (images, language) and a suffix (action tokens). */
interface SequenceMasks {
  /** Positions that are not padding: bool `[B, L]`. */
  valid: Tensor;
  /** Query (row) may attend to key (column): bool `[B, L, L]`. */
  allowed: Tensor;
  /** Valid positions up to here, less one: int64 `[B, L]`. Padding repeats the position before it; −1 before the first valid one. */
  positions: Tensor;
}

/**
 * The prefix attends to itself in both directions, the suffix to the prefix and to itself causally; nothing attends to padding, and
 * padding to nothing.
 *
 * @param prefix valid positions, bool `[B, P]`
 * @param suffix valid positions, bool `[B, T]`; null: no suffix
 */
export function sequenceMasks(prefix: Tensor, suffix: Tensor | null): SequenceMasks {
  const valid = suffix === null ? prefix : cat([prefix, suffix], 1);
  const length = valid.size(1);
  const device = valid.device;
  const causal = ones([length, length], { dtype: 'bool', device }).tril();
  const pattern = causal.logicalOr(arange(0, length, 1, { device }).lt(prefix.size(1)));
  return {
    valid,
    allowed: valid.unsqueeze(1).logicalAnd(valid.unsqueeze(2)).logicalAnd(pattern),
    positions: valid.cumsum(1).sub(1),
  };
}

/** Result of `actionTokenLoss`. */
interface TokenLoss {
  /** Mean cross-entropy over the targets of the whole batch, nats; 0 if there are none. */
  loss: Tensor;
  /** Share of targets that are the most likely token, without a graph; 0 if there are none. */
  accuracy: Tensor;
  /** Number of targets. */
  count: number;
}

/**
 * Next-token loss: the state of action token i predicts token i + 1, if that is valid. The first action token is never a target.
 *
 * The head, which takes most of the memory, is applied only to positions with a target; the result equals that of LeRobot's mask.
 */
export function actionTokenLoss(model: Pi0FastModel, encoded: Encoded, actions: Tokens): TokenLoss {
  const count = actions.ids.size(1) - 1;
  const hidden = encoded.states.at(-1)!.narrow(1, encoded.prefixLength, count);
  const counted = actions.mask.narrow(1, 1, count).reshape([-1]).nonzero().squeeze(1);
  const rows = hidden.reshape([-1, hidden.size(-1)]).indexSelect(0, counted);
  const targets = actions.ids.narrow(1, 1, count).reshape([-1]).indexSelect(0, counted);
  const logits = model.logits(model.normalise(rows));
  const number = Math.max(1, counted.numel);
  const loss = nn.functional.crossEntropy(logits, targets, { reduction: 'sum' }).div(number);
  const accuracy = logits.detach().argmax(-1).eq(targets).sum().to('float32').div(number);
  return { loss, accuracy, count: counted.numel };
}
