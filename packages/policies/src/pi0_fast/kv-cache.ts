import { type DType, empty, type Tensor } from '@craft-ft/torch';
import type { GemmaSizes } from './sizes.js';

/** Keys and values of the positions that the decoder has seen, per layer, in memory that is taken once. */
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
