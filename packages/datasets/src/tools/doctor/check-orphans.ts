import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Findings } from './finding.js';

/** Files below data/ and videos/ that the metadata does not mention, and what an interrupted recording left behind. */
export function checkOrphans(findings: Findings, known: ReadonlySet<string>): void {
  for (const folder of ['data', 'videos', 'images', 'meta']) {
    for (const path of filesBelow(join(findings.root, folder))) {
      if (/^\.tmp-|^\..*\.tmp$|\.incomplete$/.test(basename(path))) {
        findings.add('ORPHAN', path, 'left behind by a recording or download that was cut off', {
          fix: 'delete it when nothing is being written',
        });
      } else if ((folder === 'data' || folder === 'videos') && !known.has(path)) {
        findings.add('ORPHAN', path, 'no episode of the metadata uses the file', {
          fix: 'delete it, or check whether the metadata is complete',
        });
      }
    }
  }
}

function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.bak'))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch {
    // No such folder: a dataset without cameras has no videos/.
    return [];
  }
}
