import { join } from 'node:path';
import { cores, findPython, root, versions } from './lib/machine.mjs';
import { commandLine, summary, takeTurns } from './lib/sides.mjs';
import { shapes } from './lib/surgery-shapes.mjs';
import { table } from './lib/table.mjs';

export const title =
  "Surgery, clipping and AdamW on 53 million parameters in 195 tensors against the original's algorithm on PyTorch";

const ROUNDS = 5;
const STEPS = 5;

const [FASTER, OVER_STREAM] = [4, 1.5];

export async function run() {
  const python = findPython();
  // On a busy machine libgomp's threads would spin waiting for one another until the timings mean nothing.
  const env = { OMP_NUM_THREADS: String(cores), GOMP_SPINCOUNT: '20000' };
  const args = (path) => [join(root, 'benchmarks', path), String(STEPS), JSON.stringify(shapes)];
  const sides = [{ name: 'typescript', command: process.execPath, args: args('node/surgery.mjs'), env }];
  if (python !== null) {
    for (const kind of ['default', 'foreach']) {
      sides.push({
        name: kind,
        command: python.command,
        args: [...args('python/surgery.py'), kind],
        env: { ...env, ...python.env },
      });
    }
  } else {
    process.stderr.write('no Python with the same torch: own figures only\n');
  }
  const results = await takeTurns(sides, ROUNDS);
  const of = (side, figure) => summary(results[side].map((result) => result[figure]));
  const own = Object.fromEntries(
    ['step_ms', 'gram_ms', 'stream_ms', 'baseline_ms', 'composed_ms', 'stream_ratio', 'peak_mb'].map(
      (figure) => [figure, of('typescript', figure)],
    ),
  );
  const [first] = results.typescript;
  const misses = [];
  if (own.stream_ratio.min > OVER_STREAM) {
    misses.push(
      `${own.stream_ratio.min.toFixed(2)} times a plain sweep over the same bytes, not ${OVER_STREAM}`,
    );
  }
  const others = {};
  for (const side of python === null ? [] : ['default', 'foreach']) {
    const time = of(side, 'step_ms');
    others[side] = {
      step_ms: time,
      peak_mb: of(side, 'peak_mb'),
      times_faster: {
        least: time.min / own.step_ms.min,
        median: time.median / own.step_ms.median,
      },
    };
    const [result] = results[side];
    // Both sides must end with the same weights, after the same steps with the same random numbers.
    if (!(Math.abs(result.sum - first.sum) < 1e-6 * first.sum) || result.conflict !== first.conflict) {
      misses.push(`${side}: Σ|p| = ${result.sum}, ${first.sum} in TypeScript`);
    }
    if (!(others[side].times_faster.least >= FASTER)) misses.push(`not ${FASTER} times faster than ${side}`);
  }
  return {
    versions: versions(python),
    commands: sides.map((side) => commandLine({ ...side, args: side.args.toSpliced(2, 1, 'SHAPES') })),
    rounds: ROUNDS,
    steps: STEPS,
    threads: cores,
    parameters: first.parameters,
    tensors: first.tensors,
    figures: { typescript: own, python: others },
    misses,
  };
}

export function human({ figures: { typescript: own, python }, parameters, tensors, versions: v }) {
  const ms = ({ min, median }) => [min.toFixed(1), median.toFixed(1)];
  const rows = [
    ['', 'ms, least', 'ms, median', 'times as long, least', 'median'],
    ['surgery + clip + AdamW', ...ms(own.step_ms), '', ''],
    ['  of which the pass over both gradients', ...ms(own.gram_ms), '', ''],
    ["composed of libtorch's operators", ...ms(own.composed_ms), '', ''],
    ['a plain sweep over the same bytes', ...ms(own.stream_ms), '', ''],
    ['a baseline step: norm + clip + AdamW', ...ms(own.baseline_ms), '', ''],
  ];
  for (const [side, { step_ms: time, times_faster: faster }] of Object.entries(python)) {
    rows.push([
      `the original on PyTorch, AdamW ${side}`,
      ...ms(time),
      faster.least.toFixed(1),
      faster.median.toFixed(1),
    ]);
  }
  return [
    `${parameters} parameters in ${tensors} tensors; peak memory ${own.peak_mb.median.toFixed(0)} MB, PyTorch ${Object.values(
      python,
    )
      .map(({ peak_mb: peak }) => peak.median.toFixed(0))
      .join(' and ')} MB`,
    table(rows),
    `two passes against the plain sweep: ${own.stream_ratio.min.toFixed(2)} at least, ${own.stream_ratio.median.toFixed(2)} in the median`,
    `\nlibtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, ${v.processor}`,
  ].join('\n');
}
