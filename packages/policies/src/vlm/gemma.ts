import {
  arange,
  cat,
  checkpoint,
  type DType,
  embedding,
  full,
  gelu,
  hasOperator,
  nn,
  rmsNorm,
  type Tensor,
  zeros,
} from '@craft-ft/torch';
import { type AttentionBias, attention, attentionBias, type KvCache } from './attention.js';

/** Gemma decoder. */
export interface GemmaSizes {
  width: number;
  depth: number;
  mlpDim: number;
  heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. */
  kvHeads: number;
  headDim: number;
  vocabSize: number;
}

/** Lookups of this id get no gradient, as in transformers. */
const PADDING_ID = 0;

/** What all layers share for a sequence. */
interface Surroundings extends Rotations {
  bias: AttentionBias;
}

class GemmaAttention extends nn.Module {
  readonly qProj: nn.Linear;
  readonly kProj: nn.Linear;
  readonly vProj: nn.Linear;
  readonly oProj: nn.Linear;

  constructor(readonly sizes: GemmaSizes) {
    super();
    const { width, heads, kvHeads, headDim } = sizes;
    this.qProj = new nn.Linear(width, heads * headDim, { bias: false });
    this.kProj = new nn.Linear(width, kvHeads * headDim, { bias: false });
    this.vProj = new nn.Linear(width, kvHeads * headDim, { bias: false });
    this.oProj = new nn.Linear(heads * headDim, width, { bias: false });
  }

  override forward(x: Tensor, around: Surroundings, cache: KvCache | null, layer: number): Tensor {
    const [batch, length] = x.shape as [number, number];
    const { heads, kvHeads, headDim } = this.sizes;
    const q = rotate(this.qProj.call(x).view([batch, length, heads, headDim]), around);
    const own = [
      rotate(this.kProj.call(x).view([batch, length, kvHeads, headDim]), around),
      this.vProj.call(x).view([batch, length, kvHeads, headDim]),
    ] as const;
    const [k, v] = cache === null ? own : cache.append(layer, ...own);
    return this.oProj.call(attention(q, k, v, around.bias));
  }
}

class GemmaMlp extends nn.Module {
  readonly gateProj: nn.Linear;
  readonly upProj: nn.Linear;
  readonly downProj: nn.Linear;

  constructor({ width, mlpDim }: GemmaSizes) {
    super();
    this.gateProj = new nn.Linear(width, mlpDim, { bias: false });
    this.upProj = new nn.Linear(width, mlpDim, { bias: false });
    this.downProj = new nn.Linear(mlpDim, width, { bias: false });
  }

  override forward(x: Tensor): Tensor {
    return this.downProj.call(gelu(this.gateProj.call(x), { approximate: 'tanh' }).mul(this.upProj.call(x)));
  }
}

class GemmaLayer extends nn.Module {
  // The order is LeRobot's, which numbers the parameters in optimiser checkpoints.
  readonly selfAttn: GemmaAttention;
  readonly mlp: GemmaMlp;
  readonly inputLayernorm: RmsNorm;
  readonly postAttentionLayernorm: RmsNorm;

  constructor(
    sizes: GemmaSizes,
    readonly index: number,
  ) {
    super();
    this.selfAttn = new GemmaAttention(sizes);
    this.mlp = new GemmaMlp(sizes);
    this.inputLayernorm = new RmsNorm(sizes.width);
    this.postAttentionLayernorm = new RmsNorm(sizes.width);
  }

  override forward(x: Tensor, around: Surroundings, cache: KvCache | null): Tensor {
    const seen = x.add(this.selfAttn.call(this.inputLayernorm.call(x), around, cache, this.index));
    return seen.add(this.mlp.call(this.postAttentionLayernorm.call(seen)));
  }
}

/** How the decoder runs. */
interface GemmaOptions {
  /** Keys and values of earlier positions, to which those of the new ones are appended. Without a graph only. */
  cache?: KvCache | null;
  /** Recompute the layers in the backward pass. */
  checkpointing?: boolean;
}

/** Gemma's decoder (Gemma Team, 2024) without its head, as LeRobot's `PiGemmaModel`. */
export class Gemma extends nn.Module {
  readonly embedTokens: nn.Embedding;
  readonly layers: nn.ModuleList<GemmaLayer>;
  readonly norm: RmsNorm;

  constructor(readonly sizes: GemmaSizes) {
    super();
    this.embedTokens = new nn.Embedding(sizes.vocabSize, sizes.width);
    this.layers = new nn.ModuleList(Array.from({ length: sizes.depth }, (_, i) => new GemmaLayer(sizes, i)));
    this.norm = new RmsNorm(sizes.width);
  }

  /** Embeddings of int64 tokens `[B, L]`, times √width: the only place where they are scaled. */
  embed(tokens: Tensor): Tensor {
    const { weight } = this.embedTokens;
    return embedding(weight, tokens, PADDING_ID).mul(this.scale(weight));
  }

  // Rounded to the dtype of the weights, as transformers' buffer is.
  private scale({ dtype }: Tensor): number {
    const exact = Math.fround(Math.sqrt(this.sizes.width));
    if (dtype !== 'bfloat16') return exact;
    const bits = new Uint32Array(new Float32Array([exact]).buffer);
    bits[0] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000;
    return new Float32Array(bits.buffer)[0]!;
  }

  /**
   * @param x embeddings `[B, L, width]`
   * @param positions int64 `[B, L]`
   * @param allowed bool `[B, L, S]`: which of the S positions, those in the cache first, each of the L may attend to
   * @returns the embeddings, then the output of every layer; the last one not yet normalised (`norm`)
   */
  override forward(
    x: Tensor,
    positions: Tensor,
    allowed: Tensor,
    { cache = null, checkpointing = false }: GemmaOptions = {},
  ): Tensor[] {
    const { heads, kvHeads, headDim } = this.sizes;
    const { cos, sin } = rotations(positions, headDim, x.dtype);
    const bias = attentionBias(allowed, heads / kvHeads, x.dtype);
    const states = [x];
    for (const layer of this.layers) {
      const input = states.at(-1)!;
      // Passed as arguments: tensors that a checkpointed function only captures would be freed before its backward pass.
      const output = checkpointing
        ? checkpoint((h, c, s, b) => layer.call(h, { cos: c, sin: s, bias: b }, null), input, cos, sin, bias)
        : layer.call(input, { cos, sin, bias }, cache);
      states.push(output);
    }
    if (cache !== null) cache.length += x.size(1);
    return states;
  }
}

const fused = () => hasOperator('rms_norm');

/** Gemma's norm: x / √(mean(x²) + eps) · (1 + weight), computed in float32, returned in the input's dtype. */
class RmsNorm extends nn.Module {
  /** `[width]` */
  readonly weight: nn.Parameter;

  constructor(
    width: number,
    readonly eps = 1e-6,
  ) {
    super();
    this.weight = new nn.Parameter(zeros([width]));
  }

  override forward(x: Tensor): Tensor {
    const { dtype } = x;
    if (dtype === 'float32') return this.normalise(x);
    return this.normalise(x.to('float32')).to(dtype);
  }

  private normalise(x: Tensor): Tensor {
    const scale = this.weight.add(1);
    if (fused()) return rmsNorm(x, [this.weight.numel], scale, this.eps);
    return x.mul(x.square().mean([-1], true).add(this.eps).rsqrt()).mul(scale);
  }
}

/** Cosines and sines of every position, `[B, L, 1, headDim / 2]`. */
interface Rotations {
  cos: Tensor;
  sin: Tensor;
}

/**
 * Rotary position embedding (Su et al., 2021): angle i of position p is p · 10000^(−2i / headDim). Angles are computed in float32.
 *
 * @param positions int64 `[B, L]`; −1 is allowed
 */
export function rotations(positions: Tensor, headDim: number, dtype: DType): Rotations {
  const device = positions.device;
  const exponents = arange(0, headDim, 2, { dtype: 'float32', device }).div(headDim);
  const frequencies = full([], 10_000, { dtype: 'float32', device }).pow(exponents).reciprocal();
  const angles = positions.to('float32').unsqueeze(-1).mul(frequencies).unsqueeze(2);
  return { cos: angles.cos().to(dtype), sin: angles.sin().to(dtype) };
}

/**
 * Rotates the pairs (i, i + headDim / 2) of every head.
 *
 * @param x `[B, L, heads, headDim]`
 */
export function rotate(x: Tensor, { cos, sin }: Rotations): Tensor {
  const [first, second] = x.chunk(2, -1) as [Tensor, Tensor];
  return cat([first.mul(cos).addcmul(second, sin, { value: -1 }), second.mul(cos).addcmul(first, sin)], -1);
}
