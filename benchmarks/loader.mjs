import { existsSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cores, root } from './lib/machine.mjs';
import { commandLine, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title =
  'Camera batches of 8 (AV1, 480×640 to 240×320): samples per second, and how long a training of ACT waits for them';

const ROUNDS = Number(process.env.CRAFT_BENCH_ROUNDS ?? 3);
const STEPS = 6;
/** Target: at most this percentage of a step is spent waiting. */
const AIM = 5;
const WORKERS = [0, 1, 2];

export async function run() {
  const dataset = process.env.CRAFT_BENCH_DATASET ?? join(root, '../shared/data/g1_yellow_bottle');
  const videos = join(dataset, 'videos/chunk-000/observation.images.cam_high');
  if (!existsSync(videos))
    throw new Error(`${videos} is missing; name a v2.1 dataset with this camera in CRAFT_BENCH_DATASET`);
  const episodes = readdirSync(videos).map((file) => Number(/(\d+)\.mp4$/.exec(file)[1]));
  const script = join(root, 'benchmarks/node/loader.mjs');
  const sides = WORKERS.map((workers) => ({
    name: `${workers} worker${workers === 1 ? '' : 's'}`,
    command: process.execPath,
    args: [script, String(workers), dataset, JSON.stringify(episodes), String(STEPS)],
  }));
  const results = await takeTurns(sides, ROUNDS);
  const figures = {};
  for (const kind of ['samples', 'dataloading_s', 'update_s', 'waiting']) {
    const of = (side) => summary(results[side.name].map((round) => round[kind]));
    figures[kind] = Object.fromEntries(sides.map((side) => [side.name, of(side)]));
  }
  const best = Math.min(...Object.values(figures.waiting).map(({ median }) => median));
  return {
    versions: { node: process.version, processor: cpus()[0].model, cores },
    commands: sides.map(commandLine),
    rounds: ROUNDS,
    figures,
    misses: best > AIM ? [`${best.toFixed(1)} % of a step is waiting; the aim is at most ${AIM} %`] : [],
  };
}

export function human({ figures, versions: v }) {
  const labels = {
    samples: 'samples/s of the loader alone',
    dataloading_s: 's a step: waiting for its batch',
    update_s: 's a step: the update',
    waiting: '% of a step spent waiting',
  };
  const digits = { samples: 0, dataloading_s: 4, update_s: 2, waiting: 2 };
  const names = Object.keys(figures.samples);
  const rows = Object.entries(figures).map(([kind, sides]) => [
    labels[kind],
    ...names.map((name) => sides[name].median.toFixed(digits[kind])),
  ]);
  return `${table([['medians', ...names], ...rows])}\n\nNode ${v.node}, ${v.processor}, ${v.cores} cores`;
}
