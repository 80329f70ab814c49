import { existsSync } from 'node:fs';
import type { Problem } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';

/** The word before the flags. */
export const leadingRoot = { field: 'root', usage: 'FOLDER' };

/** Which dataset: a folder, or a name that is looked up. */
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

/** The folder of the chosen dataset. @throws CraftError `DATASET_FILE_MISSING` where a name has none */
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
