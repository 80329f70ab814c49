import type { LeRobotDatasetMetadata } from '@craft-ft/datasets';
import type { Curve } from '@craft-ft/datasets/tools';

/** Aligned columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** Six significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(6));
}

/** One line per episode: frames, seconds, where its rows are, its tasks. */
export function episodeTable(metadata: LeRobotDatasetMetadata): string[] {
  const rows = metadata.episodes.map((episode) => [
    String(episode.episodeIndex),
    String(episode.length),
    String(round(episode.length / metadata.fps)),
    metadata.dataPath(episode).slice(metadata.root.length + 1),
    episode.tasks.join('; '),
  ]);
  return table([['episode', 'frames', 'seconds', 'data', 'tasks'], ...rows]);
}

/** One line per curve: name, the curve, its extremes. */
export function curveLines(
  curves: readonly Curve[],
  columns: number,
  draw: (values: ArrayLike<number>, width: number) => string,
): string[] {
  const name = Math.min(40, Math.max(...curves.map((curve) => curve.name.length)));
  const width = Math.max(10, columns - name - 26);
  return curves.map((curve) => {
    const low = curve.values.reduce((a, b) => Math.min(a, b));
    const high = curve.values.reduce((a, b) => Math.max(a, b));
    const range = `${Number(low.toPrecision(4))} to ${Number(high.toPrecision(4))}`;
    return `${curve.name.slice(-name).padEnd(name)}  ${draw(curve.values, width).padEnd(width)}  ${range}`;
  });
}
