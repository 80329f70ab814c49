import { existsSync, readdirSync, statSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';

/**
 * Refuses to write into a folder that already has content.
 *
 * @param folder must not exist yet, or be empty
 * @param remedy ends the message, after "choose another --output_dir"
 * @throws CraftError `OUTPUT_EXISTS`
 */
export function refuseUsedFolder(folder: string, remedy = ''): void {
  if (!existsSync(folder)) return;
  if (!statSync(folder).isDirectory()) {
    throw new CraftError('OUTPUT_EXISTS', `${folder} is a file: choose another --output_dir`);
  }
  if (readdirSync(folder).length === 0) return;
  throw new CraftError('OUTPUT_EXISTS', `${folder} is not empty: choose another --output_dir${remedy}`);
}
