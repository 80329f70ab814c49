const blocks = '▁▂▃▄▅▆▇█';

/**
 * A curve as one line of block characters: the values are averaged in `width` equal stretches; the lowest stretch is the lowest
 * block. A constant is drawn at mid-height.
 */
export function sparkline(values: ArrayLike<number>, width: number): string {
  const columns = Math.min(width, values.length);
  const means = Array.from({ length: columns }, (_, i) => {
    const from = Math.floor((i * values.length) / columns);
    const to = Math.floor(((i + 1) * values.length) / columns);
    let sum = 0;
    for (let at = from; at < to; at++) sum += values[at]!;
    return sum / (to - from);
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  return means
    .map((mean) => {
      const level = high > low ? Math.floor(((mean - low) / (high - low)) * blocks.length) : 3;
      return blocks[Math.min(level, blocks.length - 1)];
    })
    .join('');
}
