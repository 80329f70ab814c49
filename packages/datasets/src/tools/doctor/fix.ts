import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { parseJson, readTextIfPresent } from '../../dataset/files.js';
import { replaceFile } from '../backup.js';
import { recomputeStats } from '../recompute-stats.js';
import { actualTotals } from './check-metadata.js';
import type { Examination } from './doctor.js';

/** What {@link fixDataset} did, and what it could not do; one sentence each. */
export interface Fixed {
  readonly done: readonly string[];
  readonly failed: readonly string[];
}

/**
 * Mends what can be mended without guessing: the totals of info.json, from the metadata's own lists, and the statistics of
 * numeric features, from the data if all of it is readable. Every file is replaced all or nothing, its original kept as `.bak`.
 * Data and videos are never touched. Examine again afterwards.
 */
export async function fixDataset({ root, metadata, findings }: Examination): Promise<Fixed> {
  const done: string[] = [];
  const failed: string[] = [];
  if (metadata === undefined) return { done, failed };
  const fixable = findings.filter((finding) => finding.fixable === true);
  const attempt = async (what: string, step: () => unknown): Promise<void> => {
    try {
      await step();
      done.push(what);
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      failed.push(`not done: ${what}: ${error.message}`);
    }
  };
  if (fixable.some(({ code }) => code === 'TOTALS')) {
    await attempt('the totals of meta/info.json', () => {
      const path = join(root, 'meta', 'info.json');
      const info = parseJson(readTextIfPresent(path)!, path) as Record<string, unknown>;
      const totals = Object.entries(actualTotals(metadata.episodes, metadata.tasks));
      for (const [key, value] of totals) if (info[key] !== undefined) info[key] = value;
      replaceFile(path, JSON.stringify(info, null, 4));
    });
  }
  if (fixable.some(({ code }) => code.startsWith('STATS'))) {
    await attempt('the statistics of numeric features', () => recomputeStats(root, () => {}));
  }
  return { done, failed };
}
