import type { Column } from '../../datasets/columns.js';

/** Smallest and largest value of each element of the numeric features, over all that was read. */
export class ValueRanges {
  /** Set when some data could not be read. */
  incomplete = false;
  readonly byKey = new Map<string, { min: Float64Array; max: Float64Array; rows: number }>();

  add(key: string, { data, width }: Column): void {
    let range = this.byKey.get(key);
    if (range === undefined) {
      range = {
        min: new Float64Array(width).fill(Number.POSITIVE_INFINITY),
        max: new Float64Array(width).fill(Number.NEGATIVE_INFINITY),
        rows: 0,
      };
      this.byKey.set(key, range);
    }
    const { min, max } = range;
    for (let i = 0; i < data.length; i++) {
      const value = Number(data[i]);
      const element = i % width;
      if (value < min[element]!) min[element] = value;
      if (value > max[element]!) max[element] = value;
    }
    range.rows += data.length / width;
  }
}
