import { cat, nn, type Tensor } from '@craft-ft/torch';
import type { Pi0FastConfig } from './configuration.js';
import type { KvCache } from './kv-cache.js';
import { PaliGemma } from './pali-gemma.js';
import { type SequenceMasks, sequenceMasks } from './sequence.js';
import type { Pi0FastSizes } from './sizes.js';
import { makeWeights } from './weights.js';

/** Token ids int64 `[B, N]` and which of them count, bool `[B, N]`. */
export interface Tokens {
  ids: Tensor;
  mask: Tensor;
}

/** What the model sees before it acts. */
export interface Prefix {
  /** Output of `imageFeatures` and, per camera, whether it is there (bool `[B, cameras]`); null without cameras. */
  images: { features: Tensor; mask: Tensor } | null;
  language: Tokens;
}

/** A sequence that went through the decoder. */
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

  constructor(sizes: Pi0FastSizes, resolution: readonly [number, number]) {
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
  readonly sizes: Pi0FastSizes;
  readonly #checkpointing: boolean;

  /**
   * Random weights (none within `nn.init.withoutInit`), decided by `torch.manualSeed`, in the configuration's dtype.
   *
   * @param sizes those of the configuration's variant, or others
   */
  constructor(config: Pi0FastConfig, sizes: Pi0FastSizes) {
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

  private get lean(): boolean {
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
    const seen = visionTower.call(images.flatten(0, 1), this.lean);
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
    // One lookup for all tokens: a gradient of the whole table once, not twice.
    const embedded = languageModel.embed(
      actions === null ? language.ids : cat([language.ids, actions.ids], 1),
    );
    const imageLength = images === null ? 0 : images.features.size(1);
    const x = images === null ? embedded : cat([images.features, embedded], 1);
    const masks = sequenceMasks(prefixMask(prefix), actions?.mask ?? null);
    const states = languageModel.call(x, masks.positions, masks.allowed, {
      cache,
      lean: this.lean && cache === null,
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
