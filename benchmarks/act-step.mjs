import { cores, findPython, versions } from './lib/machine.mjs';
import { commandLine, takeTurns } from './lib/sides.mjs';
import { bothSides, compareFigure, figuresTable } from './lib/versus-python.mjs';

export const title =
  "A training step of ACT at LeRobot's default size (state only, batch 8) against PyTorch on the same libtorch";

const ROUNDS = 3;
const STEPS = 8;

export async function run() {
  const python = findPython();
  const env = { OMP_NUM_THREADS: String(cores) };
  const args = [String(STEPS)];
  const sides = bothSides(python, { name: 'act-step', args }, { name: 'act_step', args }, env);
  const results = await takeTurns(sides, ROUNDS);
  const figures = Object.fromEntries(
    ['step_ms', 'peak_mb', 'parameters'].map((figure) => [figure, compareFigure(results, figure)]),
  );
  return {
    versions: versions(python),
    commands: sides.map(commandLine),
    rounds: ROUNDS,
    threads: cores,
    figures,
  };
}

export const human = (result) => figuresTable(result);
