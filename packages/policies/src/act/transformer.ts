import { arange, cat, nn, noGrad, ones, scope, stack, type Tensor, tensor } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';

type Activation = (x: Tensor) => Tensor;

/** The configuration's activation; gelu is the exact one, not the tanh approximation. */
function activation(name: ActConfig['feedforward_activation']): Activation {
  return name === 'relu' ? (x) => x.relu() : (x) => x.gelu();
}

/**
 * linear2(dropout(activation(linear1(x)))). As in LeRobot, the two layers belong to the transformer layer itself, so that names
 * match.
 */
function feedForward(
  x: Tensor,
  layer: { linear1: nn.Linear; linear2: nn.Linear; dropout: nn.Dropout; activation: Activation },
): Tensor {
  return layer.linear2.call(layer.dropout.call(layer.activation(layer.linear1.call(x))));
}

/** Self-attention and feed-forward, each with a residual connection; normalised afterwards, or before with `pre_norm`. */
class ActEncoderLayer extends nn.Module {
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
   * @param padding bool `[B, L]`, true for positions to ignore
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

/** A stack of encoder layers, with a final normalisation if `pre_norm`. */
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

/** Self-attention, attention to the encoder's output and feed-forward, each with a residual connection. */
class ActDecoderLayer extends nn.Module {
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

/** A stack of decoder layers and a final normalisation. */
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

/** Dimensions come in pairs of sine and cosine with the same wavelength (over 2π). */
function wavelength(d: number, dimension: number): number {
  return 10_000 ** ((2 * Math.floor(d / 2)) / dimension);
}

/**
 * Sinusoidal position embeddings `[positions, dimension]` of Vaswani et al. (2017): sin(p / 10000^(2i/d)) at even, cos at odd
 * dimensions. Computed in double precision, then rounded, as LeRobot's `create_sinusoidal_pos_embedding`.
 */
export function sinusoidalPositions(positions: number, dimension: number): Tensor {
  const table = new Float32Array(positions * dimension);
  for (let p = 0; p < positions; p++) {
    for (let d = 0; d < dimension; d++) {
      const angle = p / wavelength(d, dimension);
      table[p * dimension + d] = d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return tensor(table, { shape: [positions, dimension] });
}

/**
 * Position embeddings of a grid of image features, `[height · width, 2 · dimension]`, rows first: `dimension` values of the row,
 * then of the column, both scaled to (0, 2π]. LeRobot's `ACTSinusoidalPositionEmbedding2d`.
 */
export function gridPositions(height: number, width: number, dimension: number, device: string): Tensor {
  return scope(() =>
    noGrad(() => {
      const divisor = tensor(
        Float32Array.from({ length: dimension }, (_, d) => wavelength(d, dimension)),
        { device },
      );
      const axis = (size: number) => {
        const steps = arange(1, size + 1, 1, { dtype: 'float32', device });
        const angles = steps
          .div(size + 1e-6)
          .mul(2 * Math.PI)
          .unsqueeze(1)
          .div(divisor)
          .view([size, -1, 2]);
        return stack([angles.select(2, 0).sin(), angles.select(2, 1).cos()], 2).view([size, dimension]);
      };
      const grid = ones([height, width, 1], { device });
      const rows = axis(height).unsqueeze(1).mul(grid);
      const columns = axis(width).unsqueeze(0).mul(grid);
      return cat([rows, columns], 2).view([height * width, 2 * dimension]);
    }),
  );
}
