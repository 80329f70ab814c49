import { join } from 'node:path';
import { cores, findPython, root, versions } from './lib/machine.mjs';
import { commandLine, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title =
  "A training step of ACT at LeRobot's default size (state only, batch 8) against PyTorch on the same libtorch";

const ROUNDS = 3;
const STEPS = 8;

export async function run() {
  const python = findPython();
  const env = { OMP_NUM_THREADS: String(cores) };
  const script = (path) => [join(root, 'benchmarks', path), String(STEPS)];
  const sides = [{ name: 'typescript', command: process.execPath, args: script('node/act-step.mjs'), env }];
  if (python !== null) {
    sides.push({
      name: 'python',
      command: python.command,
      args: script('python/act_step.py'),
      env: { ...env, ...python.env },
    });
  } else {
    process.stderr.write('no Python with the same torch: own figures only\n');
  }
  const results = await takeTurns(sides, ROUNDS);
  const figures = {};
  for (const figure of ['step_ms', 'peak_mb', 'parameters']) {
    const own = summary(results.typescript.map((r) => r[figure]));
    const other = python === null ? null : summary(results.python.map((r) => r[figure]));
    figures[figure] = {
      typescript: own,
      python: other,
      ratio: other === null ? null : own.median / other.median,
    };
  }
  return {
    versions: versions(python),
    commands: sides.map(commandLine),
    rounds: ROUNDS,
    threads: cores,
    figures,
  };
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
