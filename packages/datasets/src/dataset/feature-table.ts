import type { LeRobotDataset } from './dataset.js';
import { isBookkeeping } from './info.js';

/** One line of the table of features. */
export interface FeatureRow {
  readonly datasetKey: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The key the policy sees, or `not used`. */
  readonly policyKey: string;
}

/**
 * Which feature of the dataset goes to which key of the policy; the bookkeeping columns are left out.
 *
 * @param policyFeatures Keys the policy takes in or gives out. Default: all loaded features.
 */
export function featureTable(
  dataset: Pick<LeRobotDataset, 'features' | 'columns'>,
  policyFeatures: Iterable<string> = dataset.columns.keys(),
): FeatureRow[] {
  const used = new Set(policyFeatures);
  return Object.entries(dataset.features)
    .filter(([key]) => !isBookkeeping(key))
    .map(([key, { datasetKey, dtype, shape }]) => ({
      datasetKey,
      dtype,
      shape,
      policyKey: used.has(key) ? key : 'not used',
    }));
}

/** The table as aligned lines, for the console. */
export function formatFeatureTable(rows: readonly FeatureRow[]): string[] {
  const cells = [
    ['dataset key', 'dtype', 'shape', 'policy key'],
    ...rows.map((row) => [row.datasetKey, row.dtype, `[${row.shape.join(', ')}]`, row.policyKey]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
