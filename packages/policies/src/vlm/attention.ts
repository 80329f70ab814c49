import { baddbmm, type DType, empty, hasOperator, nn, type Tensor, zeros } from '@craft-ft/torch';
import type { GemmaSizes } from './gemma.js';

const fused = () => hasOperator('scaled_dot_product_attention');

/**
 * Added to the scores of masked pairs, as in openpi. Finite: a row that may attend to nothing (padding, an absent camera) averages
 * over all keys, where −∞ would give NaN.
 */
const BLOCKED = -2.3819763e38;

/** The bias added to attention scores, in the form that `attention` expects for this version of libtorch. */
export type AttentionBias = Tensor & { readonly __bias?: never };

/**
 * @param allowed bool `[B, L, S]`: whether a query may attend to a key
 * @param group query heads per key head
 */
export function attentionBias(allowed: Tensor, group: number, dtype: DType): AttentionBias {
  const bias = zeros(allowed.shape, { dtype, device: allowed.device }).maskedFill_(
    allowed.logicalNot(),
    BLOCKED,
  );
  return fused() ? bias.unsqueeze(1) : bias.repeatInterleave(group, 1);
}

/**
 * Grouped-query attention: softmax(q·kᵀ / √D + bias)·v, where key head j serves the query heads j·g … j·g + g − 1. Keys and values
 * are not repeated.
 *
 * @param q `[B, L, H, D]`
 * @param k `[B, S, K, D]`
 * @param v `[B, S, K, D]`
 * @returns `[B, L, H·D]`
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, bias: AttentionBias): Tensor {
  return fused() ? fusedAttention(q, k, v, bias) : composedAttention(q, k, v, bias);
}

function fusedAttention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor): Tensor {
  const [batch, length, heads, dim] = q.shape as [number, number, number, number];
  const [, source, kvHeads] = k.shape as [number, number, number];
  const spread = (x: Tensor) =>
    x
      .transpose(1, 2)
      .unsqueeze(2)
      .expand([batch, kvHeads, heads / kvHeads, source, dim])
      .reshape([batch, heads, source, dim]);
  const out = nn.functional.scaledDotProductAttention(q.transpose(1, 2), spread(k), spread(v), {
    attnMask: bias,
  });
  return out.transpose(1, 2).reshape([batch, length, heads * dim]);
}

/** For libtorch before 2.0: the heads of a group are rows of one matrix product. */
function composedAttention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor): Tensor {
  const [batch, length, heads, dim] = q.shape as [number, number, number, number];
  const [, source, kvHeads] = k.shape as [number, number, number];
  const group = heads / kvHeads;
  const alone = kvHeads === 1;
  const flat = (x: Tensor) =>
    alone ? x.squeeze(2) : x.transpose(1, 2).reshape([batch * kvHeads, source, dim]);
  const rows = alone
    ? q.view([batch, length * group, dim])
    : q
        .view([batch, length, kvHeads, group, dim])
        .transpose(1, 2)
        .reshape([batch * kvHeads, length * group, dim]);
  const perHead = alone ? bias : bias.repeatInterleave(kvHeads, 0);
  const scores = baddbmm(perHead, rows, flat(k).transpose(1, 2), { alpha: dim ** -0.5 });
  const weights = scores.softmax(-1, 'float32').to(q.dtype);
  scores.dispose();
  const out = weights.bmm(flat(v));
  if (alone) return out.view([batch, length, heads * dim]);
  return out
    .view([batch, kvHeads, length, group, dim])
    .transpose(1, 2)
    .reshape([batch, length, heads * dim]);
}

/** Keys and values of the positions that the decoder has seen, per layer, in memory that is allocated once. */
export class KvCache {
  readonly #keys: Tensor[];
  readonly #values: Tensor[];
  /** Positions that are filled in every layer. */
  length = 0;

  /** @param capacity positions that fit */
  constructor(
    { depth, kvHeads, headDim }: GemmaSizes,
    batch: number,
    capacity: number,
    where: { dtype: DType; device: string },
  ) {
    const room = () =>
      Array.from({ length: depth }, () => empty([batch, capacity, kvHeads, headDim], where).keep());
    this.#keys = room();
    this.#values = room();
  }

  /**
   * Stores a layer's keys and values `[B, L, K, D]` after the filled positions.
   *
   * @returns views of everything stored, `[B, length + L, K, D]`
   */
  append(layer: number, keys: Tensor, values: Tensor): [keys: Tensor, values: Tensor] {
    const count = keys.size(1);
    const store = (buffer: Tensor, fresh: Tensor) => {
      buffer.narrow(1, this.length, count).copy_(fresh);
      return buffer.narrow(1, 0, this.length + count);
    };
    return [store(this.#keys[layer]!, keys), store(this.#values[layer]!, values)];
  }

  dispose(): void {
    for (const tensor of [...this.#keys, ...this.#values]) tensor.dispose();
  }
}
