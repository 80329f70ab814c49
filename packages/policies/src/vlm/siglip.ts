import { checkpoint, gelu, nn, type Tensor } from '@craft-ft/torch';

/** SigLIP vision tower: a transformer over square patches. */
export interface SiglipSizes {
  width: number;
  depth: number;
  mlpDim: number;
  heads: number;
  /** Side of a patch, pixels. */
  patch: number;
}

/** Number of tokens per camera image at a resolution [height, width]. */
export function imageTokens({ patch }: SiglipSizes, [height, width]: readonly [number, number]): number {
  return Math.floor(height / patch) * Math.floor(width / patch);
}

const EPS = 1e-6;

class SiglipAttention extends nn.Module {
  // The order is transformers', which numbers the parameters in optimiser checkpoints.
  readonly kProj: nn.Linear;
  readonly vProj: nn.Linear;
  readonly qProj: nn.Linear;
  readonly outProj: nn.Linear;
  readonly heads: number;

  constructor({ width, heads }: SiglipSizes) {
    super();
    this.kProj = new nn.Linear(width, width);
    this.vProj = new nn.Linear(width, width);
    this.qProj = new nn.Linear(width, width);
    this.outProj = new nn.Linear(width, width);
    this.heads = heads;
  }

  override forward(x: Tensor): Tensor {
    const [batch, length, width] = x.shape as [number, number, number];
    const split = (y: Tensor) => y.view([batch, length, this.heads, width / this.heads]).transpose(1, 2);
    const attended = nn.functional.scaledDotProductAttention(
      split(this.qProj.call(x)),
      split(this.kProj.call(x)),
      split(this.vProj.call(x)),
    );
    return this.outProj.call(attended.transpose(1, 2).reshape([batch, length, width]));
  }
}

class SiglipMlp extends nn.Module {
  readonly fc1: nn.Linear;
  readonly fc2: nn.Linear;

  constructor({ width, mlpDim }: SiglipSizes) {
    super();
    this.fc1 = new nn.Linear(width, mlpDim);
    this.fc2 = new nn.Linear(mlpDim, width);
  }

  override forward(x: Tensor): Tensor {
    return this.fc2.call(gelu(this.fc1.call(x), { approximate: 'tanh' }));
  }
}

class SiglipLayer extends nn.Module {
  readonly layerNorm1: nn.LayerNorm;
  readonly selfAttn: SiglipAttention;
  readonly layerNorm2: nn.LayerNorm;
  readonly mlp: SiglipMlp;

  constructor(sizes: SiglipSizes) {
    super();
    this.layerNorm1 = new nn.LayerNorm(sizes.width, { eps: EPS });
    this.selfAttn = new SiglipAttention(sizes);
    this.layerNorm2 = new nn.LayerNorm(sizes.width, { eps: EPS });
    this.mlp = new SiglipMlp(sizes);
  }

  override forward(x: Tensor): Tensor {
    const seen = x.add(this.selfAttn.call(this.layerNorm1.call(x)));
    return seen.add(this.mlp.call(this.layerNorm2.call(seen)));
  }
}

class SiglipEmbeddings extends nn.Module {
  readonly patchEmbedding: nn.Conv2d;
  readonly positionEmbedding: nn.Embedding;

  constructor(sizes: SiglipSizes, resolution: readonly [number, number]) {
    super();
    this.patchEmbedding = new nn.Conv2d(3, sizes.width, sizes.patch, { stride: sizes.patch });
    this.positionEmbedding = new nn.Embedding(imageTokens(sizes, resolution), sizes.width);
  }

  override forward(images: Tensor): Tensor {
    return this.patchEmbedding.call(images).flatten(2).transpose(1, 2).add(this.positionEmbedding.weight);
  }
}

class SiglipEncoder extends nn.Module {
  readonly layers: nn.ModuleList<SiglipLayer>;

  constructor(sizes: SiglipSizes) {
    super();
    this.layers = new nn.ModuleList(Array.from({ length: sizes.depth }, () => new SiglipLayer(sizes)));
  }

  override forward(): never {
    throw new Error('called through SiglipTransformer');
  }
}

class SiglipTransformer extends nn.Module {
  readonly embeddings: SiglipEmbeddings;
  readonly encoder: SiglipEncoder;
  readonly postLayernorm: nn.LayerNorm;

  constructor(sizes: SiglipSizes, resolution: readonly [number, number]) {
    super();
    this.embeddings = new SiglipEmbeddings(sizes, resolution);
    this.encoder = new SiglipEncoder(sizes);
    this.postLayernorm = new nn.LayerNorm(sizes.width, { eps: EPS });
  }

  override forward(images: Tensor, checkpointing: boolean): Tensor {
    let x = this.embeddings.call(images);
    for (const layer of this.encoder.layers)
      x = checkpointing ? checkpoint((input) => layer.call(input), x) : layer.call(x);
    return this.postLayernorm.call(x);
  }
}

/**
 * SigLIP's vision tower (Zhai et al., 2023) without its pooling head, under transformers' names with the level `vision_model` that
 * version 5.17 dropped: one vector per patch.
 */
export class SiglipVision extends nn.Module {
  readonly visionModel: SiglipTransformer;

  constructor(sizes: SiglipSizes, resolution: readonly [number, number]) {
    super();
    this.visionModel = new SiglipTransformer(sizes, resolution);
  }

  /**
   * @param images float32 in [-1, 1], `[N, 3, height, width]` in the tower's resolution
   * @param checkpointing recompute the layers in the backward pass
   * @returns `[N, patches, width]`
   */
  override forward(images: Tensor, checkpointing = false): Tensor {
    return this.visionModel.call(images, checkpointing);
  }
}

/** The linear map from image features to the decoder's embeddings. */
export class Projector extends nn.Module {
  readonly linear: nn.Linear;

  constructor(from: number, to: number) {
    super();
    this.linear = new nn.Linear(from, to);
  }

  override forward(x: Tensor): Tensor {
    return this.linear.call(x.to(this.linear.weight.dtype));
  }
}
