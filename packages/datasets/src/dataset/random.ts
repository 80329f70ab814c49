const MASK = (1n << 64n) - 1n;

/** One output of SplitMix64 (Steele, Lea, Flood 2014) for a 64-bit state. */
function splitmix64(state: bigint): bigint {
  let z = (state + 0x9e3779b97f4a7c15n) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/**
 * Xoshiro128** (Blackman, Vigna 2018): 32-bit outputs from a 128-bit state, the same on every platform.
 *
 * The state is two SplitMix64 outputs of the key `splitmix64(splitmix64(seed) xor stream)`, so neighbouring seeds and
 * neighbouring streams (epochs) are unrelated.
 */
export class Xoshiro128 {
  readonly #state = new Uint32Array(4);

  constructor(seed: number, stream: number) {
    const key = splitmix64(splitmix64(BigInt(seed) & MASK) ^ BigInt(stream));
    const first = splitmix64(key);
    const second = splitmix64(first);
    const words = [first & 0xffffffffn, first >> 32n, second & 0xffffffffn, second >> 32n];
    this.#state.set(words.map(Number));
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** A whole number in [0, 2³²). */
  next(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  /** A whole number in [0, bound), without bias: outputs above the largest multiple of `bound` are drawn again. */
  below(bound: number): number {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let value = this.next();
    while (value >= limit) value = this.next();
    return value % bound;
  }
}

/** Shuffles in place by Fisher–Yates from the last element down. */
export function shuffle(values: Uint32Array, random: Xoshiro128): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const kept = values[i]!;
    values[i] = values[j]!;
    values[j] = kept;
  }
}
