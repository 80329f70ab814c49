import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findPython, root, versions } from './lib/machine.mjs';
import { commandLine, runSide, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title =
  "A CRaFT step of ACT (base size, one camera, batch 4) and of pi0_fast (gemma_mini) against the original's algorithm on PyTorch";

const ROUNDS = 2;
const STEPS = 3;
const POLICIES = ['act', 'pi0_fast'];
const FREQUENCIES = [1, 2, 5, 10];
// One thread: on a busy machine, threads waiting for each other would make timings meaningless.
const env = { OMP_NUM_THREADS: '1' };

export async function run() {
  const python = findPython();
  if (python === null) process.stderr.write('no Python with the same torch: own figures only\n');
  const folder = mkdtempSync(join(tmpdir(), 'craft-step-'));
  const [commands, figures, misses] = [[], {}, []];
  try {
    const make = [join(root, 'benchmarks/node/pi0-fast.mjs'), 'make', folder];
    await runSide({ name: 'make', command: process.execPath, args: make });
    for (const policy of POLICIES) {
      const sides = sidesOf(policy, python, folder);
      commands.push(...sides.map(commandLine));
      process.stderr.write(`${policy}\n`);
      figures[policy] = compare(await takeTurns(sides, ROUNDS));
      const { ratio, same_parameters: same } = figures[policy];
      if (ratio !== null && !(ratio.cpu_ms < 1)) {
        misses.push(`${policy}: a CRaFT step takes ${ratio.cpu_ms.toFixed(2)} times PyTorch's`);
      }
      if (!same) misses.push(`${policy}: the two sides differ in their number of parameters`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { versions: versions(python), commands, rounds: ROUNDS, steps: STEPS, threads: 1, figures, misses };
}

function sidesOf(policy, python, folder) {
  const kinds = ['craft', 'baseline'];
  const args = (script, kind) => [join(root, 'benchmarks', script), policy, kind, String(STEPS), folder];
  return kinds.flatMap((kind) => {
    const own = { name: kind, command: process.execPath, args: args('node/craft-step.mjs', kind), env };
    if (python === null) return [own];
    const side = { command: python.command, env: { ...env, ...python.env } };
    return [own, { ...side, name: `python ${kind}`, args: args('python/craft_step.py', kind) }];
  });
}

/** The smallest of the per-round medians, in CPU time, which other programs on the machine disturb least. */
function compare(results) {
  const least = (side, figure) => summary(results[side].map((result) => result[figure])).min;
  const side = (name) => ({
    step_ms: least(name, 'step_ms'),
    cpu_ms: least(name, 'cpu_ms'),
    peak_mb: least(name, 'peak_mb'),
  });
  const [craft, baseline] = [side('craft'), side('baseline')];
  const between = least('craft', 'between_cpu_ms');
  const cost = (k, retention, plain, base) => (retention + (k - 1) * plain) / k / base;
  const costs = (of) => Object.fromEntries(FREQUENCIES.map((k) => [k, of(k)]));
  const own = {
    ...{ craft, baseline, between_cpu_ms: between, parameters: results.craft[0].parameters },
    cost_by_frequency: costs((k) => cost(k, craft.cpu_ms, between, baseline.cpu_ms)),
  };
  if (results['python craft'] === undefined) {
    return { typescript: own, python: null, ratio: null, same_parameters: true };
  }
  const other = { craft: side('python craft'), baseline: side('python baseline') };
  const { cpu_ms: plain } = other.baseline;
  other.cost_by_frequency = costs((k) => cost(k, other.craft.cpu_ms, plain, plain));
  const ratio = (kind) =>
    Object.fromEntries(
      Object.keys(own[kind]).map((figure) => [figure, own[kind][figure] / other[kind][figure]]),
    );
  return {
    typescript: own,
    python: other,
    ratio: ratio('craft'),
    baseline_ratio: ratio('baseline'),
    same_parameters: own.parameters === results['python craft'][0].parameters,
  };
}

export function human({ figures, versions: v }) {
  const number = (value) => (value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 0));
  const parts = Object.entries(figures).map(
    ([policy, { typescript, python, ratio, baseline_ratio: base }]) => {
      const row = (name, kind, figure, of) => [
        name,
        ...[typescript[kind][figure], python?.[kind][figure], of?.[figure]].map(number),
      ];
      return table([
        [`${policy}, ${typescript.parameters} parameters`, 'TypeScript', 'PyTorch', 'ratio'],
        row('CRaFT step, ms of processor time', 'craft', 'cpu_ms', ratio),
        row('CRaFT step, ms', 'craft', 'step_ms', ratio),
        row('CRaFT, peak MB', 'craft', 'peak_mb', ratio),
        row('baseline step, ms of processor time', 'baseline', 'cpu_ms', base),
        row('baseline, peak MB', 'baseline', 'peak_mb', base),
        ...FREQUENCIES.map((k) => [
          `CRaFT with retention_freq ${k}, in baseline steps`,
          ...[typescript.cost_by_frequency[k], python?.cost_by_frequency[k]].map(number),
          '',
        ]),
      ]);
    },
  );
  return [
    ...parts.map((part) => `${part}\n`),
    `libtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, one thread, ${v.processor}`,
  ].join('\n');
}
