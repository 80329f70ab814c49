import { empty } from '../creation.js';
import { CraftError } from '../errors.js';
import * as ops from '../generated/ops.js';
import type { Tensor } from '../tensor.js';
import { scaledDotProductAttention } from './functional.js';
import { constant_, xavierUniform_ } from './init.js';
import { Linear } from './linear.js';
import { Module } from './module.js';
import { Parameter } from './parameter.js';

/** Masks of an attention call; in both, true means "not to be attended to", as in PyTorch's module. */
export interface AttentionMasks {
  /** bool `[N, S]`: keys to leave out. */
  keyPaddingMask?: Tensor | null;
  /** bool (true = left out) or additive float, `[L, S]` or `[N·heads, L, S]`. */
  attnMask?: Tensor | null;
}

/**
 * Multi-head attention with PyTorch's parameter names (`in_proj_weight`, `in_proj_bias`, `out_proj.*`). Sequences are `[L, N, E]`,
 * or `[N, L, E]` with `batchFirst`. Returns the output only, not the attention weights.
 */
export class MultiheadAttention extends Module {
  /** Query, key and value projections one below the other: `[3E, E]` */
  readonly inProjWeight: Parameter;
  readonly inProjBias: Parameter | null;
  readonly outProj: Linear;
  readonly embedDim: number;
  readonly numHeads: number;
  readonly dropout: number;
  readonly batchFirst: boolean;

  constructor(
    embedDim: number,
    numHeads: number,
    options: { dropout?: number; bias?: boolean; batchFirst?: boolean } = {},
  ) {
    super();
    const { dropout = 0, bias = true, batchFirst = false } = options;
    if (embedDim % numHeads !== 0) {
      throw new CraftError(
        'ARGUMENT_INVALID',
        `embedDim ${embedDim} must be divisible by numHeads ${numHeads}`,
      );
    }
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.dropout = dropout;
    this.batchFirst = batchFirst;
    this.inProjWeight = new Parameter(empty([3 * embedDim, embedDim]));
    this.inProjBias = bias ? new Parameter(ops.zeros([3 * embedDim])) : null;
    this.outProj = new Linear(embedDim, embedDim, { bias });
    xavierUniform_(this.inProjWeight);
    if (this.outProj.bias !== null) constant_(this.outProj.bias, 0);
  }

  override forward(query: Tensor, key: Tensor, value: Tensor, masks: AttentionMasks = {}): Tensor {
    const [q, k, v] = this.project(query, key, value);
    const attended = scaledDotProductAttention(this.split(q), this.split(k), this.split(v), {
      attnMask: this.mask(masks, q, k),
      dropoutP: this.training ? this.dropout : 0,
    });
    return this.outProj.call(this.join(attended));
  }

  // Inputs that are the same tensor share one matrix product.
  private project(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const E = this.embedDim;
    const part = (input: Tensor, first: number, count: number) => {
      const bias = this.inProjBias === null ? null : this.inProjBias.narrow(0, first * E, count * E);
      return ops.linear(input, this.inProjWeight.narrow(0, first * E, count * E), bias);
    };
    if (query === key && key === value) return part(query, 0, 3).chunk(3, -1);
    if (query === key) return [...part(query, 0, 2).chunk(2, -1), part(value, 2, 1)];
    if (key === value) return [part(query, 0, 1), ...part(key, 1, 2).chunk(2, -1)];
    return [part(query, 0, 1), part(key, 1, 1), part(value, 2, 1)];
  }

  // [L, N, E] or [N, L, E] → [N, heads, L, E / heads]
  private split(x: Tensor): Tensor {
    const [first, second] = x.shape;
    const heads = x.reshape([first, second, this.numHeads, this.embedDim / this.numHeads]);
    return heads.permute(this.batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3]);
  }

  private join(x: Tensor): Tensor {
    const [batch, , length] = x.shape;
    if (this.batchFirst) return x.permute([0, 2, 1, 3]).reshape([batch, length, this.embedDim]);
    return x.permute([2, 0, 1, 3]).reshape([length, batch, this.embedDim]);
  }

  // One additive mask that broadcasts to [N, heads, L, S].
  private mask(
    { keyPaddingMask = null, attnMask = null }: AttentionMasks,
    query: Tensor,
    key: Tensor,
  ): Tensor | null {
    const additive = (mask: Tensor) => {
      if (mask.dtype !== 'bool') return mask;
      const zeros = ops.zeros(mask.shape, { dtype: query.dtype, device: query.device });
      return zeros.maskedFill_(mask, Number.NEGATIVE_INFINITY);
    };
    const padding = keyPaddingMask === null ? null : additive(keyPaddingMask).unsqueeze(1).unsqueeze(2);
    if (attnMask === null) return padding;
    let attention = additive(attnMask);
    if (attention.ndim === 3) {
      const [length, source] = [query.size(this.batchFirst ? 1 : 0), key.size(this.batchFirst ? 1 : 0)];
      attention = attention.view([-1, this.numHeads, length, source]);
    }
    return padding === null ? attention : attention.add(padding);
  }
}
