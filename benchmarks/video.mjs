import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { cores, root } from './lib/machine.mjs';
import { commandLine, summary, takeTurns } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title = "Frames per second of AV1 video to RGB against PyAV used in LeRobot's way";

const ROUNDS = 5;
const AIM = 2;

/** A Python that has PyAV (Debian: apt-get install python3-av). */
function findPyav() {
  const candidates = [process.env.CRAFT_PYTHON, '/usr/bin/python3', 'python3'].filter(Boolean);
  return candidates.find((command) => spawnSync(command, ['-c', 'import av, numpy']).status === 0) ?? null;
}

export async function run() {
  const folder =
    process.env.CRAFT_BENCH_VIDEOS ??
    join(root, '../shared/data/g1_yellow_bottle/videos/chunk-000/observation.images.cam_high');
  if (!existsSync(folder))
    throw new Error(`${folder} is missing; name a folder of MP4 files in CRAFT_BENCH_VIDEOS`);
  const own = (threads) => ({
    name: `typescript, ${threads} thread${threads === 1 ? '' : 's'}`,
    command: process.execPath,
    args: [join(root, 'benchmarks/node/video.mjs'), String(threads), folder],
  });
  const sides = [own(1), own(cores)];
  const pyav = findPyav();
  if (pyav === null) process.stderr.write('no Python with PyAV: own figures only\n');
  for (const way of pyav === null ? [] : ['lerobot', 'tuned']) {
    const args = [join(root, 'benchmarks/python/video.py'), way, folder];
    sides.push({ name: `pyav, ${way}`, command: pyav, args });
  }
  const results = await takeTurns(sides, ROUNDS);
  const figures = {};
  for (const kind of ['random', 'random_8', 'sequential', 'raw', 'kept_memory', 'kept_disk']) {
    const of = (side) => summary(results[side.name].map((round) => round[kind]));
    figures[kind] = Object.fromEntries(sides.map((side) => [side.name, of(side)]));
  }
  const best = (kind) => Math.max(...sides.slice(0, 2).map(({ name }) => figures[kind][name].median));
  const ratios = {};
  const misses = [];
  for (const kind of pyav === null ? [] : ['random', 'random_8', 'sequential']) {
    const to = (way) => best(kind) / figures[kind][`pyav, ${way}`].median;
    ratios[kind] = { lerobot: to('lerobot'), tuned: to('tuned') };
    if (kind !== 'sequential' && ratios[kind].lerobot < AIM) {
      misses.push(
        `${kind} is ${ratios[kind].lerobot.toFixed(2)} times LeRobot's way with PyAV; the aim is ${AIM}`,
      );
    }
  }
  ratios.sequential_to_raw = best('sequential') / best('raw');
  return {
    versions: {
      node: process.version,
      pyav: pyav === null ? null : results['pyav, lerobot'][0].pyav,
      processor: cpus()[0].model,
      cores,
    },
    commands: sides.map(commandLine),
    rounds: ROUNDS,
    unit: 'frames per second',
    figures,
    ratios,
    misses,
  };
}

export function human({ figures, ratios, versions: v }) {
  const labels = {
    random: 'random, one frame a request',
    random_8: 'random, eight frames a request',
    sequential: 'one after the other',
    raw: 'FFmpeg alone, beginning to end',
    kept_memory: 'random, frames kept in memory',
    kept_disk: 'random, frames kept on disk',
  };
  const names = Object.keys(figures.random);
  const rows = Object.entries(figures).map(([kind, sides]) => [
    labels[kind],
    ...names.map((name) => sides[name].median?.toFixed(0) ?? '-'),
    ratios[kind]?.lerobot.toFixed(2) ?? '-',
    ratios[kind]?.tuned.toFixed(2) ?? '-',
  ]);
  const head = ['frames/s, medians', ...names, 'ours to lerobot', 'ours to tuned'];
  return `${table([head, ...rows])}\n\nNode ${v.node}, PyAV ${v.pyav ?? 'absent'}, ${v.processor}, ${v.cores} cores`;
}
