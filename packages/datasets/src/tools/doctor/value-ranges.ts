import type { Column } from '../../dataset/columns.js';

/** Smallest and largest value of each element of the numeric features, over all that was read. */
export class ValueRanges {
  /** Set when some data could not be read. */
  incomplete = false;
  readonly byKey = new Map<string, { min: Float64Array; max: Float64Array }>();

  /** @param rows How many of the column's rows count. */
  add(key: string, { data, width }: Column, rows: number): void {
    let range = this.byKey.get(key);
    if (range === undefined) {
      range = {
        min: new Float64Array(width).fill(Number.POSITIVE_INFINITY),
        max: new Float64Array(width).fill(Number.NEGATIVE_INFINITY),
      };
      this.byKey.set(key, range);
    }
    const { min, max } = range;
    for (let i = 0; i < rows * width; i++) {
      const value = Number(data[i]);
      const element = i % width;
      if (value < min[element]!) min[element] = value;
      if (value > max[element]!) max[element] = value;
    }
  }
}
