import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { atomicWriteFile, makeFolder } from '@craft-ft/torch';
import type { Output } from '../command.js';
import { formatDuration } from '../report.js';
import { pooled, type SeedResult, tableLines, verdictLines } from './outcomes.js';
import { pageIn, seedFolder, writeSeedsPage } from './page.js';
import { beginStory } from './progress.js';
import { Interrupted, runSeed } from './run-seed.js';
import type { DemoPolicy, DemoSettings } from './settings.js';

/** Options of a demo. */
interface DemoRequest {
  policy: DemoPolicy;
  settings: DemoSettings;
  /** The first seed; the others follow. */
  seed: number;
  seeds: number;
  folder: string;
  /** Continue from what is in the folder. */
  resume: boolean;
}

/**
 * Shows forgetting and what helps against it; see `craft demo --help`. Writes `results.json` and `report.html` besides the
 * datasets and runs; with several seeds, each in a folder of its own.
 *
 * @returns exit code
 */
export async function demo(request: DemoRequest, output: Output): Promise<number> {
  const { settings, seed: first, seeds, folder } = request;
  const started = performance.now();
  const say = (line = '') => output.out(`${line}\n`);
  const results: SeedResult[] = [];
  const fingerprint = createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16);
  beginStory(folder, { policy: request.policy, seed: first, seeds, settings: fingerprint }, request.resume);
  try {
    for (let seed = first; seed < first + seeds; seed++) {
      const own = seeds === 1 ? folder : join(folder, seedFolder(seed));
      makeFolder(own);
      if (seeds > 1) say(`\nSeed ${seed}, ${seed - first + 1} of ${seeds}`);
      const result = await runSeed(settings, seed, own, output);
      results.push(result);
      say(
        `\nSuccess in ${settings.rollouts} episodes of each task, the same starts for all (seed ${seed}):\n`,
      );
      for (const line of tableLines(result.policies)) say(`   ${line}`);
      save(results, folder);
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    say(`\nTo go on: the same command with --output_dir=${folder} --resume=true`);
    return error.exitCode;
  }
  const all = pooled(results);
  if (seeds > 1) {
    say(`\nAll ${seeds} seeds:\n`);
    for (const line of tableLines(all)) say(`   ${line}`);
    writeSeedsPage(results, pageIn(folder));
  }
  say();
  for (const line of verdictLines(all)) say(`   ${line}`);
  const what = seeds === 1 ? 'With curves and videos' : 'With links to curves and videos of each seed';
  say(`\nDone in ${formatDuration((performance.now() - started) / 1000)}. ${what}: ${pageIn(folder)}`);
  return 0;
}

function save(results: readonly SeedResult[], folder: string): void {
  atomicWriteFile(join(folder, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
}
