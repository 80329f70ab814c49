import { existsSync } from 'node:fs';
import type { LeRobotDatasetMetadata } from '@craft-ft/datasets';
import type { Curve } from '@craft-ft/datasets/tools';
import type { Problem } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';

/** The word before the flags: a dataset's folder. */
export const leadingRoot = { field: 'root', usage: 'FOLDER' };

/** Selects a dataset: by its folder, or by a name that is looked up. */
export const sourceFields = {
  root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder of the dataset; may be given as the first word, without --root=.'),
  repo_id: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Name of the dataset, as user/name, looked up below $HF_LEROBOT_HOME when no folder is given; not downloaded.',
    ),
};

export const outputField = {
  output: z.string().min(1).describe('Folder for the result; must not exist yet, or be empty.'),
};

export const jsonField = {
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
};

interface Source {
  root: string | null;
  repo_id: string | null;
}

export function validateSource({ root, repo_id }: Source): Problem[] {
  if (root !== null || repo_id !== null) return [];
  return [{ field: 'root', found: undefined, message: 'expected the folder of a dataset, or repo_id' }];
}

/** The folder of the selected dataset. @throws CraftError `DATASET_FILE_MISSING` if there is none for the name */
export async function sourceFolder({ root, repo_id }: Source): Promise<string> {
  if (root !== null) return root;
  const { datasetFolder } = await import('@craft-ft/training');
  const folder = datasetFolder({ root: null, repo_id: repo_id!, episodes: null, exclude_episodes: null });
  if (existsSync(folder)) return folder;
  throw new CraftError(
    'DATASET_FILE_MISSING',
    `${folder}: there is no such folder, and craft dataset downloads nothing; name one with --root, or bring it first with a ` +
      `command that does: craft train or craft eval-loss with --dataset.repo_id=${repo_id}`,
  );
}

/** Formats rows as aligned columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** Rounds to six significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(6));
}

/** One line per episode: frames, seconds, location of its rows, tasks. */
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
