import { arange, cat, ones, type Tensor } from '@craft-ft/torch';

/** Who attends to whom in a sequence of a prefix (images, language) and a suffix (action tokens). */
export interface SequenceMasks {
  /** Positions that hold something: bool `[B, L]`. */
  valid: Tensor;
  /** Query (row) may attend to key (column): bool `[B, L, L]`. */
  allowed: Tensor;
  /** Valid positions up to here, less one: int64 `[B, L]`. Padding repeats the position before it; −1 before the first valid one. */
  positions: Tensor;
}

/**
 * The prefix attends to itself in both directions, the suffix to the prefix and to itself causally; nothing attends to padding, and
 * padding to nothing.
 *
 * @param prefix valid positions, bool `[B, P]`
 * @param suffix valid positions, bool `[B, T]`; null: no suffix
 */
export function sequenceMasks(prefix: Tensor, suffix: Tensor | null): SequenceMasks {
  const valid = suffix === null ? prefix : cat([prefix, suffix], 1);
  const length = valid.size(1);
  const device = valid.device;
  const causal = ones([length, length], { dtype: 'bool', device }).tril();
  const pattern = causal.logicalOr(arange(0, length, 1, { device }).lt(prefix.size(1)));
  return {
    valid,
    allowed: valid.unsqueeze(1).logicalAnd(valid.unsqueeze(2)).logicalAnd(pattern),
    positions: valid.cumsum(1).sub(1),
  };
}
