import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cores, findPython, root, versions } from './lib/machine.mjs';
import { commandLine, runSide, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title =
  'pi0_fast, variant gemma_mini (two cameras at 112, batch 4): training step and decoding against PyTorch on the same libtorch';

const ROUNDS = 3;
const STEPS = 3;
const TOKENS = 48;

/** Wall time, processor time of all threads (which a busy machine distorts less) and memory. */
const FIGURES = ['step_ms', 'step_cpu_ms', 'decode_ms_per_token', 'decode_cpu_ms_per_token', 'peak_mb'];

/** Ratios to PyTorch that must not be exceeded. */
const LIMITS = { step_ms: 1.05, decode_ms_per_token: 1 };

export async function run() {
  const python = findPython();
  const threads = Number(process.env.OMP_NUM_THREADS ?? cores);
  const env = { OMP_NUM_THREADS: String(threads) };
  const folder = mkdtempSync(join(tmpdir(), 'pi0-fast-'));
  const counts = [folder, String(STEPS), String(TOKENS)];
  const script = join(root, 'benchmarks/node/pi0-fast.mjs');
  const sides = [{ name: 'typescript', command: process.execPath, args: [script, 'run', ...counts], env }];
  if (python !== null) {
    sides.push({
      name: 'python',
      command: python.command,
      args: [join(root, 'benchmarks/python/pi0_fast.py'), ...counts],
      env: { ...env, ...python.env },
    });
  } else {
    process.stderr.write('no Python with the same torch: own figures only\n');
  }
  try {
    await runSide({ name: 'make', command: process.execPath, args: [script, 'make', folder] });
    const results = await takeTurns(sides, ROUNDS);
    return {
      versions: versions(python),
      commands: sides.map(commandLine),
      rounds: ROUNDS,
      threads,
      ...compare(results),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function compare({ typescript, python }) {
  const figures = {};
  const misses = python === undefined ? [] : disagreements(typescript[0], python[0]);
  for (const figure of FIGURES) {
    const own = summary(typescript.map((r) => r[figure]));
    const other = python === undefined ? null : summary(python.map((r) => r[figure]));
    const ratio = other === null ? null : own.median / other.median;
    figures[figure] = { typescript: own, python: other, ratio };
    if (ratio !== null && ratio > LIMITS[figure])
      misses.push(`${figure}: ${ratio.toFixed(3)} times PyTorch, at most ${LIMITS[figure]} is wanted`);
  }
  return { figures, misses };
}

/** Both sides start from the same weights: the loss after one step and the decoded tokens are to be the same. */
function disagreements(own, other) {
  const misses = [];
  if (Math.abs(own.loss - other.loss) > 1e-3) misses.push(`loss ${own.loss}, PyTorch has ${other.loss}`);
  if (own.tokens.join() !== other.tokens.join()) misses.push('the decoded tokens differ from PyTorch');
  return misses;
}

export function human({ figures, versions: v }) {
  const number = (value) => (value === undefined || value === null ? '-' : value.toFixed(2));
  const rows = Object.entries(figures).map(([name, { typescript, python, ratio }]) => [
    name,
    ...[typescript.min, typescript.median, python?.min, python?.median, ratio].map(number),
  ]);
  const head = ['', 'TS min', 'TS median', 'Python min', 'Python median', 'ratio of medians'];
  return `${table([head, ...rows])}\n\nlibtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, ${v.processor}`;
}
