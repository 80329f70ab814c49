import { CraftError } from '@craft-ft/torch/errors';

const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/**
 * Whether a text has the form of a name on the Hugging Face Hub, `user/name`. A relative folder of two levels has it too: look
 * for the folder first.
 *
 * @example
 * ```ts
 * looksLikeRepoId('lerobot/pusht'); // true
 * looksLikeRepoId('./lerobot/pusht'); // false
 * ```
 */
export function looksLikeRepoId(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length === 2 &&
    text.length <= 96 &&
    parts.every((part) => PART.test(part)) &&
    !/--|\.\.|\.git$/.test(text)
  );
}

/** @throws CraftError `HUB_REPO_ID` */
export function checkRepoId(repoId: string): void {
  if (looksLikeRepoId(repoId)) return;
  throw new CraftError('HUB_REPO_ID', `"${repoId}" is no name on the Hugging Face Hub; expected user/name`);
}
