import { nn, type Tensor } from '@craft-ft/torch';
import { Gemma } from './gemma.js';
import { Projector, SiglipVision } from './siglip.js';
import type { Pi0FastSizes } from './sizes.js';

class PaliGemmaModel extends nn.Module {
  readonly visionTower: SiglipVision;
  readonly multiModalProjector: Projector;
  readonly languageModel: Gemma;

  constructor({ vision, text }: Pi0FastSizes, resolution: readonly [number, number]) {
    super();
    this.visionTower = new SiglipVision(vision, resolution);
    this.multiModalProjector = new Projector(vision.width, text.width);
    this.languageModel = new Gemma(text);
  }

  override forward(): never {
    throw new Error('called through Pi0FastModel');
  }
}

/**
 * PaliGemma (Beyer et al., 2024) under transformers' names. `lm_head` and `embed_tokens` are parameters of their own, as in LeRobot:
 * published checkpoints start with equal values, training lets them drift apart.
 */
export class PaliGemma extends nn.Module {
  readonly model: PaliGemmaModel;
  readonly lmHead: nn.Linear;

  constructor(sizes: Pi0FastSizes, resolution: readonly [number, number]) {
    super();
    this.model = new PaliGemmaModel(sizes, resolution);
    this.lmHead = new nn.Linear(sizes.text.width, sizes.text.vocabSize, { bias: false });
  }

  /** Logits `[..., vocabulary]` of hidden states after the final norm. */
  override forward(hidden: Tensor): Tensor {
    return this.lmHead.call(hidden);
  }
}
