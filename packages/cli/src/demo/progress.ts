import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, makeFolder } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { checkpointStep } from '@craft-ft/training';
import { refuseUsedFolder } from '@craft-ft/training/config';

/** What a demo's folder holds the parts of. */
export interface Story {
  policy: string;
  seed: number;
  seeds: number;
  /** Fingerprint of the demo's settings. */
  settings: string;
}

const FILE = 'demo.json';

/**
 * Marks a folder as a demo's; it is made where there is none.
 *
 * @param resume go on with the demo that is there
 * @throws CraftError `OUTPUT_EXISTS` where there is something and `resume` is false, `DEMO_RESUME` where there is no demo to go on with, or
 * another one, `CONFIG_UNREADABLE` where its file is damaged, `WRITE_FAILED` where the folder cannot be made
 */
export function beginStory(folder: string, story: Story, resume: boolean): void {
  const file = join(folder, FILE);
  if (!resume) {
    refuseUsedFolder(folder, existsSync(file) ? ', or go on with what is there: --resume=true' : '');
    makeFolder(folder);
    atomicWriteFile(file, `${JSON.stringify(story)}\n`);
    return;
  }
  if (!existsSync(file)) {
    const message = 'no such file: there is no demo to go on with; leave out --resume to begin one';
    throw new CraftError('DEMO_RESUME', `${file}: ${message}`);
  }
  const begun = readJsonObject(file);
  if (begun.policy === story.policy && begun.settings !== story.settings) {
    const message = 'begun by a version of this program with other settings; choose another --output_dir';
    throw new CraftError('DEMO_RESUME', `${file}: ${message}`);
  }
  for (const field of ['policy', 'seed', 'seeds'] as const) {
    if (begun[field] === story[field]) continue;
    // The quickstart has no such flag.
    const command = field === 'policy' ? 'craft demo with ' : '';
    throw new CraftError(
      'DEMO_RESUME',
      `${file}: ${field} is ${begun[field]} there, not ${story[field]}; give ${command}--${field}=${begun[field]}`,
    );
  }
}

/** Removes what an interrupted recording left. @returns whether the dataset is complete, and was kept */
export function removeUnlessRecorded(root: string, episodes: number): boolean {
  const file = join(root, 'meta', 'info.json');
  if (existsSync(file) && readJsonObject(file).total_episodes === episodes) return true;
  rmSync(root, { recursive: true, force: true });
  return false;
}

/** Removes what an interrupted training of a FAST tokeniser left. @returns whether the tokeniser is complete, and was kept */
export function removeUnlessFitted(folder: string): boolean {
  // This file is written last.
  if (existsSync(join(folder, 'tokenizer.json'))) return true;
  rmSync(folder, { recursive: true, force: true });
  return false;
}

/** Removes a run that saved no checkpoint yet. @returns the steps of its last checkpoint; null where the run has to begin anew */
export function removeUnlessSaved(run: string): number | null {
  const checkpoint = join(run, 'checkpoints', 'last');
  if (existsSync(checkpoint)) return checkpointStep(checkpoint);
  rmSync(run, { recursive: true, force: true });
  return null;
}
