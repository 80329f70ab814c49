import { nn, type Tensor } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';
import { activation, feedForward } from './feed-forward.js';

/** Self-attention, attention to the encoder's output and feed-forward, each with a residual connection. */
export class ActDecoderLayer extends nn.Module {
  readonly selfAttn: nn.MultiheadAttention;
  readonly multiheadAttn: nn.MultiheadAttention;
  readonly linear1: nn.Linear;
  readonly dropout: nn.Dropout;
  readonly linear2: nn.Linear;
  readonly norm1: nn.LayerNorm;
  readonly norm2: nn.LayerNorm;
  readonly norm3: nn.LayerNorm;
  readonly activation: (x: Tensor) => Tensor;
  readonly preNorm: boolean;

  constructor(config: ActConfig) {
    super();
    const { dim_model: dim, dim_feedforward: wide, dropout } = config;
    this.selfAttn = new nn.MultiheadAttention(dim, config.n_heads, { dropout, batchFirst: true });
    this.multiheadAttn = new nn.MultiheadAttention(dim, config.n_heads, { dropout, batchFirst: true });
    this.linear1 = new nn.Linear(dim, wide);
    this.dropout = new nn.Dropout(dropout);
    this.linear2 = new nn.Linear(wide, dim);
    this.norm1 = new nn.LayerNorm(dim);
    this.norm2 = new nn.LayerNorm(dim);
    this.norm3 = new nn.LayerNorm(dim);
    this.activation = activation(config.feedforward_activation);
    this.preNorm = config.pre_norm;
  }

  /**
   * @param x `[B, chunk, dim_model]`
   * @param queries positions of `x`, broadcastable to it
   * @param keys the encoder's output plus its positions, `[B, L, dim_model]`
   * @param values the encoder's output
   */
  override forward(x: Tensor, queries: Tensor, keys: Tensor, values: Tensor): Tensor {
    const drop = (y: Tensor) => this.dropout.call(y);
    const input = this.preNorm ? this.norm1.call(x) : x;
    const located = input.add(queries);
    const own = x.add(drop(this.selfAttn.call(located, located, input)));
    if (this.preNorm) {
      const query = this.norm2.call(own).add(queries);
      const seen = own.add(drop(this.multiheadAttn.call(query, keys, values)));
      return seen.add(drop(feedForward(this.norm3.call(seen), this)));
    }
    const middle = this.norm1.call(own);
    const seen = this.norm2.call(
      middle.add(drop(this.multiheadAttn.call(middle.add(queries), keys, values))),
    );
    return this.norm3.call(seen.add(drop(feedForward(seen, this))));
  }
}

/** A stack of decoder layers and a last normalisation. */
export class ActDecoder extends nn.Module {
  readonly layers: nn.ModuleList<ActDecoderLayer>;
  readonly norm: nn.LayerNorm;

  constructor(config: ActConfig) {
    super();
    this.layers = new nn.ModuleList(
      Array.from({ length: config.n_decoder_layers }, () => new ActDecoderLayer(config)),
    );
    this.norm = new nn.LayerNorm(config.dim_model);
  }

  /**
   * @param x `[B, chunk, dim_model]`
   * @param encoded the encoder's output, `[B, L, dim_model]`
   * @param queries positions of `x`
   * @param positions positions of `encoded`
   */
  override forward(x: Tensor, encoded: Tensor, queries: Tensor, positions: Tensor): Tensor {
    const keys = encoded.add(positions);
    let hidden = x;
    for (const layer of this.layers) hidden = layer.call(hidden, queries, keys, encoded);
    return this.norm.call(hidden);
  }
}
