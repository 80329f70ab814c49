import { join } from 'node:path';
import { findPython, root, versions } from './lib/machine.mjs';
import { commandLine, runSide, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';
import { bothSides } from './lib/versus-python.mjs';

export const title =
  'Live tensors and memory over 1,000 training steps of a small Transformer, peak against PyTorch';

const STEPS = 1000;
const SHORT = 50; // the peak is reached within the first steps
const ROUNDS = 3;
// One thread: on a busy machine, threads waiting for each other would make timings meaningless.
const env = { OMP_NUM_THREADS: '1' };

/** Peaks and step time from the short runs of one side. */
function compare(results) {
  const figure = (pick) => summary(results.map(pick)).median;
  return {
    start_mb: figure((r) => r.start_mb),
    peak_mb: figure((r) => r.peak_mb),
    peak_above_start_mb: figure((r) => r.peak_mb - r.start_mb),
    step_ms: figure((r) => r.step_ms),
    first_loss: figure((r) => r.first_loss),
  };
}

export async function run() {
  const python = findPython();
  const long = {
    name: 'typescript, 1,000 steps',
    command: process.execPath,
    args: [join(root, 'benchmarks/node/memory-flat.mjs'), String(STEPS)],
    env,
  };
  const args = [String(SHORT)];
  const sides = bothSides(python, { name: 'memory-flat', args }, { name: 'memory_flat', args }, env);
  process.stderr.write(`${STEPS} steps in TypeScript\n`);
  const own = await runSide(long);
  const results = await takeTurns(sides, ROUNDS);
  const [ts, py] = [compare(results.typescript), python === null ? null : compare(results.python)];
  const at = (step) => own.marks.find((mark) => mark.step === step);
  const growth = at(STEPS).rss_mb - at(100).rss_mb;
  const misses = [];
  if (at(STEPS).tensors !== at(10).tensors) {
    misses.push(`${at(10).tensors} live tensors at step 10, ${at(STEPS).tensors} at step ${STEPS}`);
  }
  if (growth > 10)
    misses.push(`resident memory grew by ${growth.toFixed(1)} MB from step 100 to step ${STEPS}`);
  const ratios = py && Object.fromEntries(Object.keys(ts).map((key) => [key, ts[key] / py[key]]));
  return {
    versions: versions(python),
    commands: [long, ...sides].map(commandLine),
    threads: 1,
    rounds: ROUNDS,
    figures: { long_run: own, rss_growth_mb_100_to_1000: growth, typescript: ts, python: py },
    ratios,
    misses,
  };
}

export function human({ figures, ratios, versions: v }) {
  const { long_run: long, rss_growth_mb_100_to_1000: growth, typescript: ts, python: py } = figures;
  const number = (value) => value.toFixed(1);
  const marks = long.marks.map((mark) => [
    mark.step,
    mark.tensors,
    number(mark.tensor_mb),
    number(mark.rss_mb),
  ]);
  const side = (name, s, format) => [
    name,
    ...[s.start_mb, s.peak_mb, s.peak_above_start_mb, s.step_ms].map(format),
  ];
  const sides = [side('TypeScript', ts, number)];
  if (py)
    sides.push(
      side('PyTorch', py, number),
      side('ratio', ratios, (value) => value.toFixed(2)),
    );
  return [
    table([['step', 'live tensors', 'tensor MB', 'resident MB'], ...marks]),
    `resident memory from step 100 to the end: ${growth.toFixed(1)} MB\n`,
    table([['', 'MB at start', 'peak MB', 'peak above start', 'ms a step'], ...sides]),
    `\nlibtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, ${v.processor}`,
  ].join('\n');
}
