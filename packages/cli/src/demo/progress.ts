import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointStep } from '@craft-ft/lerobot';
import { atomicWriteFile } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';

/** What a demo's folder holds the parts of. */
export interface Story {
  policy: string;
  seed: number;
  seeds: number;
}

const FILE = 'demo.json';

/**
 * Marks a folder as a demo's.
 *
 * @param resume go on with the demo that is there
 * @throws CraftError `OUTPUT_EXISTS` where there is something and `resume` is false, `DEMO_RESUME` where there is no demo to go on with, or
 * another one
 */
export function beginStory(folder: string, story: Story, resume: boolean): void {
  const file = join(folder, FILE);
  if (!resume) {
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      const remedy = existsSync(file) ? ', or go on with what is there: --resume=true' : '';
      throw new CraftError('OUTPUT_EXISTS', `${folder} is not empty: choose another --output_dir${remedy}`);
    }
    atomicWriteFile(file, `${JSON.stringify(story)}\n`);
    return;
  }
  if (!existsSync(file))
    throw new CraftError('DEMO_RESUME', `${file}: no such file; there is no demo to go on with`);
  const begun = JSON.parse(readFileSync(file, 'utf8')) as Story;
  for (const field of ['policy', 'seed', 'seeds'] as const) {
    if (begun[field] === story[field]) continue;
    throw new CraftError(
      'DEMO_RESUME',
      `${file}: ${field} is ${begun[field]} there, not ${story[field]}; give --${field}=${begun[field]}`,
    );
  }
}

/** Whether a dataset is whole. What an interrupted recording left is removed. */
export function isRecorded(root: string, episodes: number): boolean {
  const file = join(root, 'meta', 'info.json');
  if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).total_episodes === episodes) return true;
  rmSync(root, { recursive: true, force: true });
  return false;
}

/** How far a training is: its steps, or null where it has to begin. What a training without a checkpoint left is removed. */
export function trainedSteps(run: string): number | null {
  const checkpoint = join(run, 'checkpoints', 'last');
  if (existsSync(checkpoint)) return checkpointStep(checkpoint);
  rmSync(run, { recursive: true, force: true });
  return null;
}
