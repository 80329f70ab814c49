import { join } from 'node:path';
import { findPython, root, versions } from './lib/machine.mjs';
import { commandLine, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title =
  "Cost of one call on tiny tensors, result freed, against Python's binding of the same libtorch";

const ROUNDS = 5;
// Tiny tensors need no second thread, and both sides get the same.
const env = { OMP_NUM_THREADS: '1' };

export async function run() {
  const python = findPython();
  const sides = [
    {
      name: 'typescript',
      command: process.execPath,
      args: [join(root, 'benchmarks/node/op-overhead.mjs')],
      env,
    },
  ];
  if (python !== null) {
    const script = join(root, 'benchmarks/python/op_overhead.py');
    sides.push({ name: 'python', command: python.command, args: [script], env: { ...env, ...python.env } });
  } else {
    process.stderr.write('no Python with the same torch: own figures only\n');
  }
  const results = await takeTurns(sides, ROUNDS);
  const figures = {};
  const misses = [];
  for (const call of Object.keys(results.typescript[0])) {
    const own = summary(results.typescript.map((r) => r[call]));
    const other = python === null ? null : summary(results.python.map((r) => r[call]));
    const ratio = other === null ? null : own.median / other.median;
    figures[call] = { unit: 'microseconds', typescript: own, python: other, ratio };
    if (ratio !== null && ratio >= 1)
      misses.push(`${call} costs ${ratio.toFixed(2)} times what it costs in Python`);
  }
  return {
    versions: versions(python),
    commands: sides.map(commandLine),
    rounds: ROUNDS,
    threads: 1,
    figures,
    misses,
  };
}

export function human({ figures, versions: v }) {
  const number = (value) => (value === undefined || value === null ? '-' : value.toFixed(2));
  const rows = Object.entries(figures).map(([call, { typescript, python, ratio }]) => [
    call,
    ...[typescript.min, typescript.median, python?.min, python?.median, ratio].map(number),
  ]);
  const head = ['µs a call', 'TS min', 'TS median', 'Python min', 'Python median', 'ratio of medians'];
  return `${table([head, ...rows])}\n\nlibtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, ${v.processor}`;
}
