import { findPython, versions } from './lib/machine.mjs';
import { commandLine, takeTurns } from './lib/sides.mjs';
import { bothSides, compareFigure, figuresTable } from './lib/versus-python.mjs';

export const title =
  "Cost of one call on tiny tensors, result freed, against Python's binding of the same libtorch";

const ROUNDS = 5;
// Tiny tensors need only one thread; both sides get the same.
const env = { OMP_NUM_THREADS: '1' };

export async function run() {
  const python = findPython();
  const sides = bothSides(python, { name: 'op-overhead' }, { name: 'op_overhead' }, env);
  const results = await takeTurns(sides, ROUNDS);
  const figures = {};
  const misses = [];
  for (const call of Object.keys(results.typescript[0])) {
    figures[call] = { unit: 'microseconds', ...compareFigure(results, call) };
    const { ratio } = figures[call];
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

export const human = (result) => figuresTable(result, 'µs a call');
