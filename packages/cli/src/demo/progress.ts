import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, makeFolder } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { checkpointStep } from '@craft-ft/training';
import { refuseUsedFolder } from '@craft-ft/training/config';

/** Identifies the demo that a folder belongs to. */
export interface Story {
  policy: string;
  seed: number;
  seeds: number;
  /** Fingerprint of the demo's settings. */
  settings: string;
}

const FILE = 'demo.json';

/**
 * Marks a folder as belonging to a demo; creates it if necessary.
 *
 * @param resume continue the demo that is there
 * @throws CraftError `OUTPUT_EXISTS` if the folder is not empty and `resume` is false, `DEMO_RESUME` if there is no demo to resume or it is
 * a different one, `CONFIG_UNREADABLE` if its file is damaged, `WRITE_FAILED` if the folder cannot be created
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

/** Removes what is left of an interrupted recording. @returns whether the dataset is complete and was kept */
export function removeUnlessRecorded(root: string, episodes: number): boolean {
  const file = join(root, 'meta', 'info.json');
  if (existsSync(file) && readJsonObject(file).total_episodes === episodes) return true;
  rmSync(root, { recursive: true, force: true });
  return false;
}

/** Removes what is left of an interrupted FAST tokeniser training. @returns whether the tokeniser is complete and was kept */
export function removeUnlessFitted(folder: string): boolean {
  // This file is written last.
  if (existsSync(join(folder, 'tokenizer.json'))) return true;
  rmSync(folder, { recursive: true, force: true });
  return false;
}

/** Removes a run that has no checkpoint yet. @returns the step of its last checkpoint; null if the run has to start over */
export function removeUnlessSaved(run: string): number | null {
  const checkpoint = join(run, 'checkpoints', 'last');
  if (existsSync(checkpoint)) return checkpointStep(checkpoint);
  rmSync(run, { recursive: true, force: true });
  return null;
}
