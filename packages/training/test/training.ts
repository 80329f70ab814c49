import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setNumThreads } from '@craft-ft/torch';
import { afterAll } from 'vitest';
import { Xoshiro128 } from '../../datasets/src/dataset/random.js';
import { LeRobotDatasetWriter } from '../../datasets/src/writer/writer.js';
import { SMALL_ACT } from '../../policies/test/act-small.js';
import { resolveTrainConfig, trainConfigSpec } from '../src/config/resolve.js';
import type { TrainConfig } from '../src/config/train.js';

/** @file What tests of whole training runs share. Importing it sets libtorch to one thread: faster for tiny models, and deterministic. */

setNumThreads(1);

const folders: string[] = [];

const mounts: string[] = [];

afterAll(() => {
  for (const point of mounts.splice(0)) execFileSync('umount', [point]);
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A new folder, removed after the file's last test. */
export function testFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'craft-training-')));
  folders.push(folder);
  return folder;
}

export interface TaskOptions {
  /** Frames of each episode. Default 4 episodes of 12. */
  lengths?: readonly number[];
  /** Angle in degrees by which the action is turned against the state; what tells one task from another. Default 0. */
  turn?: number;
  /** Value of the third state, by which a policy can tell tasks apart. Default 0: it cannot. */
  mark?: number;
  /** Names of the features. Default LeRobot's. */
  keys?: { state: string; action: string };
  /** Adds a numeric feature `image`, which no policy here uses. */
  image?: boolean;
  seed?: number;
}

/**
 * Writes a v3.0 dataset, 10 fps: from a random point the state (x, y, mark) moves slowly about, and the action is (x, y) turned
 * by `turn`.
 */
export function makeTask(root: string, options: TaskOptions = {}): string {
  const { lengths = [12, 12, 12, 12], turn = 0, mark = 0, seed = 1 } = options;
  const { state, action } = options.keys ?? { state: 'observation.state', action: 'action' };
  const random = new Xoshiro128(seed, 0);
  const uniform = () => (random.next() / 2 ** 31 - 1) * 1.5;
  const [cos, sin] = [Math.cos((turn * Math.PI) / 180), Math.sin((turn * Math.PI) / 180)];
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: 10,
    features: {
      [state]: { dtype: 'float32', shape: [3], names: ['x', 'y', 'mark'] },
      [action]: { dtype: 'float32', shape: [2] },
      ...(options.image === true ? { image: { dtype: 'uint8', shape: [2, 2, 3] } } : {}),
    },
  });
  for (const length of lengths) {
    let [x, y] = [uniform(), uniform()];
    for (let frame = 0; frame < length; frame++) {
      const noise = mark === 0 ? 0 : (random.next() / 2 ** 32 - 0.5) * 0.1;
      writer.addFrame({
        [state]: [x, y, mark + noise],
        [action]: [cos * x - sin * y, sin * x + cos * y],
        ...(options.image === true ? { image: new Array(12).fill(frame) } : {}),
        task: `turn ${turn}`,
      });
      [x, y] = [x + 0.1 * uniform(), y + 0.1 * uniform()];
    }
    writer.saveEpisode();
  }
  writer.finalize();
  return root;
}

/** Flags of {@link SMALL_ACT}, learning fast. */
export const TINY = Object.entries({ ...SMALL_ACT, optimizer_lr: 1e-3 }).map(
  ([field, value]) => `--policy.${field}=${value}`,
);

/** The configuration of a run that trains {@link SMALL_ACT} on a dataset. */
export function runConfig(root: string, output_dir: string, more: object = {}): TrainConfig {
  const dataset = { repo_id: 'test/data', root };
  return resolveTrainConfig(
    { dataset, policy: SMALL_ACT, output_dir, batch_size: 4, ...more },
    trainConfigSpec,
  ).config;
}

/** Every file below a folder, by relative path: its text, or a digest of its bytes where it is binary. */
export function filesOf(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  const walk = (path: string): void => {
    for (const name of readdirSync(path).sort()) {
      const child = join(path, name);
      if (statSync(child).isDirectory()) walk(child);
      else files.set(relative(folder, child), content(child));
    }
  };
  walk(folder);
  return files;
}

function content(path: string): string {
  const bytes = readFileSync(path);
  return /\.(json|jsonl|csv)$/.test(path)
    ? bytes.toString()
    : createHash('sha256').update(bytes).digest('hex');
}

export function readJson(...path: string[]): Record<string, unknown> {
  return JSON.parse(readFileSync(join(...path), 'utf8')) as Record<string, unknown>;
}

/** `metrics.jsonl` of a run. */
export function metricsOf(run: string): Record<string, number>[] {
  return readFileSync(join(run, 'metrics.jsonl'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, number>);
}

/** A record without what a clock decides. */
export function withoutTimes(record: Record<string, number>): Record<string, number> {
  const { update_s: _, dataloading_s: __, ...rest } = record;
  return rest;
}

/** A disk of 1 MiB, unmounted after the file's last test; null where that cannot be had: only root can mount one. */
export function smallDisk(): string | null {
  if (process.getuid?.() !== 0) return null;
  const point = testFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', point], { stdio: 'ignore' });
  } catch {
    return null;
  }
  mounts.push(point);
  return point;
}

/** Fills a disk up to about 60 KB, less than a checkpoint. @returns frees it again */
export function fillDisk(point: string): () => void {
  const [, free] = execFileSync('df', ['--output=avail', '-B1', point]).toString().trim().split('\n');
  const filler = join(point, 'filler');
  writeFileSync(filler, Buffer.alloc(Number(free) - 60_000));
  return () => rmSync(filler);
}
