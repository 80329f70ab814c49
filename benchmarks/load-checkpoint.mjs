import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, versions } from './lib/machine.mjs';
import { commandLine, runSide } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title = 'Memory for loading a float32 checkpoint of pi0_fast beyond the policy itself';

/** A 6 GB checkpoint may need at most 1 GB beyond its own size; the overhead does not grow with the file. */
const LIMIT_MB = 150;

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), 'load-checkpoint-'));
  const file = join(folder, 'model.safetensors');
  const script = join(root, 'benchmarks/node/load-checkpoint.mjs');
  const side = (name, ...args) => ({ name, command: process.execPath, args: [script, ...args] });
  try {
    const { file_mb: fileMb } = await runSide(side('make', 'make', file));
    const sides = ['float32', 'bfloat16'].map((dtype) => side(dtype, 'load', file, dtype));
    const figures = {};
    for (const one of sides) figures[one.name] = await runSide(one);
    const misses = Object.entries(figures)
      .filter(([, { beyond_policy_mb: beyond }]) => beyond > LIMIT_MB)
      .map(([name, { beyond_policy_mb: beyond }]) => `${name}: ${beyond.toFixed(0)} MB > ${LIMIT_MB} MB`);
    return { versions: versions(null), commands: sides.map(commandLine), file_mb: fileMb, figures, misses };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function human({ figures, file_mb: fileMb }) {
  const rows = Object.entries(figures).map(([name, f]) => [
    `into ${name}`,
    ...[f.policy_mb, f.peak_mb, f.beyond_policy_mb].map((value) => value.toFixed(0)),
    f.seconds.toFixed(2),
  ]);
  return `${table([['', 'policy MB', 'peak MB', 'beyond MB', 'seconds'], ...rows])}\n\nfile: ${fileMb.toFixed(0)} MB, float32`;
}
