/**
 * The orthonormal discrete cosine transform DCT-II of a fixed length and its inverse, in double precision: scipy's
 * `dct(x, axis=0, norm='ortho')`. Chunks are short, so it is a product with a table.
 */
export class Dct {
  /** `[length, length]`: row k is the basis function of frequency k. */
  readonly #basis: Float64Array;

  constructor(readonly length: number) {
    this.#basis = new Float64Array(length * length);
    for (let k = 0; k < length; k++) {
      const scale = Math.sqrt((k === 0 ? 1 : 2) / length);
      for (let n = 0; n < length; n++) {
        // The angle is reduced in whole numbers first: cos of a large angle would lose digits.
        const turns = ((2 * n + 1) * k) % (4 * length);
        this.#basis[k * length + n] = scale * Math.cos((Math.PI * turns) / (2 * length));
      }
    }
  }

  /** @param values `[length, width]`, row-major; each column is transformed. */
  forward(values: ArrayLike<number>, width: number): Float64Array {
    return this.#multiply(values, width, (k, n) => k * this.length + n);
  }

  /** The inverse of `forward`. */
  inverse(coefficients: ArrayLike<number>, width: number): Float64Array {
    return this.#multiply(coefficients, width, (n, k) => k * this.length + n);
  }

  #multiply(
    values: ArrayLike<number>,
    width: number,
    at: (row: number, inner: number) => number,
  ): Float64Array {
    const { length } = this;
    const result = new Float64Array(length * width);
    for (let row = 0; row < length; row++) {
      for (let inner = 0; inner < length; inner++) {
        const factor = this.#basis[at(row, inner)]!;
        for (let d = 0; d < width; d++) result[row * width + d]! += factor * values[inner * width + d]!;
      }
    }
    return result;
  }
}

/** Rounds to the nearest whole number, halves to the even one, as numpy does. */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
