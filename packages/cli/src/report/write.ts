import { basename, dirname, join, relative, resolve } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { type RunData, type RunSource, readRun } from './read-run.js';
import { runReport } from './run-report.js';

/** Name of the page in the folder of a run. */
export const REPORT_FILE = 'report.html';

/**
 * Reads runs and writes the page that shows or compares them.
 *
 * @param folders `output_dir`s of runs
 * @returns the runs, as read
 * @throws CraftError REPORT_NO_RUN, REPORT_INVALID, DISK_FULL, WRITE_FAILED
 */
export function writeReport(
  folders: readonly string[],
  output: string,
  { lines, ...source }: RunSource & { lines?: readonly string[] } = {},
): RunData[] {
  const names = distinctNames(folders);
  const runs = folders.map((folder, i) => ({ ...readRun(folder, source), name: names[i]! }));
  atomicWriteFile(output, runReport(runs, { lines }));
  return runs;
}

/** The last part of each path; with its parents where two runs are called alike. */
export function distinctNames(folders: readonly string[]): string[] {
  const paths = folders.map((folder) => resolve(folder));
  const short = paths.map((path) => basename(path));
  if (new Set(short).size === short.length) return short;
  const common = paths.map(dirname).reduce((a, b) => {
    let shared = a;
    while (relative(shared, b).startsWith('..')) shared = dirname(shared);
    return shared;
  });
  return paths.map((path) => relative(common, path) || basename(path));
}

/** Where the page of these runs goes unless the user says so: into the run, or beside the first of several. */
export function defaultOutput(folders: readonly string[]): string {
  const [first] = folders;
  if (first === undefined || folders.length > 1) return 'report.html';
  return join(first, REPORT_FILE);
}
