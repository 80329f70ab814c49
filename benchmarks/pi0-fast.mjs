import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cores, findPython, root, versions } from './lib/machine.mjs';
import { commandLine, runSide, takeTurns } from './lib/sides.mjs';
import { bothSides, compareFigure, figuresTable } from './lib/versus-python.mjs';

export const title =
  'pi0_fast, variant gemma_mini (two cameras at 112, batch 4): training step and decoding against PyTorch on the same libtorch';

const ROUNDS = 3;
const STEPS = 3;
const TOKENS = 48;

/** Wall time, CPU time of all threads (less affected by other load) and memory. */
const FIGURES = ['step_ms', 'step_cpu_ms', 'decode_ms_per_token', 'decode_cpu_ms_per_token', 'peak_mb'];

/** Upper limits of the ratios to PyTorch. */
const LIMITS = { step_ms: 1.05, decode_ms_per_token: 1 };

export async function run() {
  const python = findPython();
  const threads = Number(process.env.OMP_NUM_THREADS ?? cores);
  const env = { OMP_NUM_THREADS: String(threads) };
  const folder = mkdtempSync(join(tmpdir(), 'pi0-fast-'));
  const counts = [folder, String(STEPS), String(TOKENS)];
  const sides = bothSides(
    python,
    { name: 'pi0-fast', args: ['run', ...counts] },
    { name: 'pi0_fast', args: counts },
    env,
  );
  try {
    const make = [join(root, 'benchmarks/node/pi0-fast.mjs'), 'make', folder];
    await runSide({ name: 'make', command: process.execPath, args: make });
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

function compare(results) {
  const { typescript, python } = results;
  const figures = {};
  const misses = python === undefined ? [] : disagreements(typescript[0], python[0]);
  for (const figure of FIGURES) {
    figures[figure] = compareFigure(results, figure);
    const { ratio } = figures[figure];
    if (ratio !== null && ratio > LIMITS[figure])
      misses.push(`${figure}: ${ratio.toFixed(3)} times PyTorch, at most ${LIMITS[figure]} is wanted`);
  }
  return { figures, misses };
}

/** Both sides start from the same weights, so the loss after one step and the decoded tokens must be the same. */
function disagreements(own, other) {
  const misses = [];
  if (Math.abs(own.loss - other.loss) > 1e-3) misses.push(`loss ${own.loss}, PyTorch has ${other.loss}`);
  if (own.tokens.join() !== other.tokens.join()) misses.push('the decoded tokens differ from PyTorch');
  return misses;
}

export const human = (result) => figuresTable(result);
