import { nn, type Tensor } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';
import { activation, feedForward } from './feed-forward.js';

/** Self-attention and feed-forward, each with a residual connection; normalised after, or with `pre_norm` before. */
export class ActEncoderLayer extends nn.Module {
  readonly selfAttn: nn.MultiheadAttention;
  readonly linear1: nn.Linear;
  readonly dropout: nn.Dropout;
  readonly linear2: nn.Linear;
  readonly norm1: nn.LayerNorm;
  readonly norm2: nn.LayerNorm;
  readonly activation: (x: Tensor) => Tensor;
  readonly preNorm: boolean;

  constructor(config: ActConfig) {
    super();
    const { dim_model: dim, dim_feedforward: wide, dropout } = config;
    this.selfAttn = new nn.MultiheadAttention(dim, config.n_heads, { dropout, batchFirst: true });
    this.linear1 = new nn.Linear(dim, wide);
    this.dropout = new nn.Dropout(dropout);
    this.linear2 = new nn.Linear(wide, dim);
    this.norm1 = new nn.LayerNorm(dim);
    this.norm2 = new nn.LayerNorm(dim);
    this.activation = activation(config.feedforward_activation);
    this.preNorm = config.pre_norm;
  }

  /**
   * @param x `[B, L, dim_model]`
   * @param positions added to queries and keys, broadcastable to `x`
   * @param padding bool `[B, L]`, true where a position is to be ignored
   */
  override forward(x: Tensor, positions: Tensor, padding: Tensor | null = null): Tensor {
    const input = this.preNorm ? this.norm1.call(x) : x;
    const located = input.add(positions);
    const attended = this.selfAttn.call(located, located, input, { keyPaddingMask: padding });
    const sum = x.add(this.dropout.call(attended));
    if (this.preNorm) return sum.add(this.dropout.call(feedForward(this.norm2.call(sum), this)));
    const middle = this.norm1.call(sum);
    return this.norm2.call(middle.add(this.dropout.call(feedForward(middle, this))));
  }
}

/** A stack of encoder layers; with `pre_norm` a last normalisation. */
export class ActEncoder extends nn.Module {
  readonly layers: nn.ModuleList<ActEncoderLayer>;
  readonly norm: nn.LayerNorm | nn.Identity;

  /** @param depth number of layers */
  constructor(config: ActConfig, depth: number) {
    super();
    this.layers = new nn.ModuleList(Array.from({ length: depth }, () => new ActEncoderLayer(config)));
    this.norm = config.pre_norm ? new nn.LayerNorm(config.dim_model) : new nn.Identity();
  }

  /** Shapes as in {@link ActEncoderLayer.forward}. */
  override forward(x: Tensor, positions: Tensor, padding: Tensor | null = null): Tensor {
    let hidden = x;
    for (const layer of this.layers) hidden = layer.call(hidden, positions, padding);
    return this.norm.call(hidden);
  }

  /** The input, then every layer's output; the last one after the final normalisation, which is what `forward` returns. */
  hiddenStates(x: Tensor, positions: Tensor): Tensor[] {
    const states = [x];
    for (const layer of this.layers) states.push(layer.call(states.at(-1)!, positions));
    states.push(this.norm.call(states.pop()!));
    return states;
  }
}
