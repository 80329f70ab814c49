import { cpus } from 'node:os';
import { join } from 'node:path';
import { cores, root } from './lib/machine.mjs';
import { commandLine, runSide } from './lib/sides.mjs';
import { table } from './lib/table.mjs';

export const title = 'The tabletop: physics, cameras at 96×96, and how often the scripted experts succeed';

/** Number of starts on which every expert is tested. */
const EPISODES = Number(process.env.CRAFT_BENCH_EPISODES ?? 200);
const CAMERA_MS = 5;
const SUCCESS = 0.98;

export async function run() {
  const args = [join(root, 'benchmarks/node/world.mjs'), String(EPISODES)];
  const side = { name: 'typescript', command: process.execPath, args };
  const figures = await runSide(side);
  const misses = [];
  if (figures.camera_ms > CAMERA_MS) {
    misses.push(`a picture takes ${figures.camera_ms.toFixed(1)} ms; the aim is ${CAMERA_MS}`);
  }
  for (const [task, { successes, episodes }] of Object.entries(figures.experts)) {
    if (successes / episodes >= SUCCESS) continue;
    misses.push(
      `${task}: the expert succeeds from ${successes} of ${episodes} starts; the aim is ${SUCCESS}`,
    );
  }
  return {
    versions: { node: process.version, processor: cpus()[0].model, cores },
    commands: [commandLine(side)],
    figures,
    misses,
  };
}

export function human({ figures, versions: v }) {
  const speeds = [
    ['per second of processor time, one core', ''],
    ['physics steps/s (2 ms each)', figures.physics_steps_per_s.toFixed(0)],
    ['control steps/s (25 to a second)', figures.control_steps_per_s.toFixed(0)],
    ['ms a picture', figures.camera_ms.toFixed(2)],
    ['ms a picture with shadows', figures.camera_shadow_ms.toFixed(2)],
  ];
  const experts = Object.entries(figures.experts).map(([task, result]) => [
    task,
    `${result.successes} of ${result.episodes}`,
    result.steps_per_episode.toFixed(0),
    result.ms_per_episode.toFixed(0),
  ]);
  const head = ['expert', 'successes', 'steps an episode', 'ms an episode'];
  const machine = `Node ${v.node}, ${v.processor}, ${v.cores} cores`;
  return `${table(speeds)}\n\n${table([head, ...experts])}\n\n${machine}`;
}
