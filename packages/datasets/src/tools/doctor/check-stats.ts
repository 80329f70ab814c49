import { join } from 'node:path';
import { columnDType, elements } from '../../dataset/dtypes.js';
import { parseJson, parseJsonLines, readTextIfPresent } from '../../dataset/files.js';
import { isBookkeeping } from '../../dataset/info.js';
import type { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import { quantileNames } from '../../dataset/stats.js';
import { episodesFiles } from '../episode-stats.js';
import { readTable } from '../table.js';
import type { Finding, Findings } from './finding.js';
import type { ValueRanges } from './value-ranges.js';

const mended = { fix: 'craft dataset doctor --fix computes them anew', fixable: true } as const;

/** Checks that statistics are present, of the right shape, finite, and about this data. */
export async function checkStats(
  metadata: LeRobotDatasetMetadata,
  findings: Findings,
  ranges: ValueRanges,
): Promise<void> {
  const { root, version } = metadata;
  const perEpisode = join(root, 'meta', 'episodes_stats.jsonl');
  const total = join(root, 'meta', 'stats.json');
  const path = version === '2.1' ? perEpisode : total;
  const text = readTextIfPresent(path);
  if (text === undefined) {
    findings.add('STATS_MISSING', path, 'the file is missing: nothing can be normalised', mended);
  } else if (version === '2.1') {
    const seen = new Set<number>();
    for (const line of parseJsonLines(text, path)) {
      const { episode_index: episode, stats } = line as { episode_index: number; stats: unknown };
      seen.add(episode);
      checkSet(metadata, stats, path, findings, { episode });
    }
    for (const { episodeIndex: episode } of metadata.episodes) {
      if (!seen.has(episode))
        findings.add('STATS_MISSING', path, 'no statistics of the episode', { episode, ...mended });
    }
  } else {
    const stats = parseJson(text, path);
    checkSet(metadata, stats, path, findings, {});
    checkStale(metadata, stats, path, findings, ranges);
  }
  if (version === '3.0') await checkTables(root, findings);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkSet(
  { features }: LeRobotDatasetMetadata,
  stats: unknown,
  path: string,
  findings: Findings,
  about: Partial<Finding>,
): void {
  for (const [key, { dtype, shape }] of Object.entries(features)) {
    const camera = dtype === 'video' || dtype === 'image';
    const numeric = columnDType(dtype) !== undefined;
    if ((!camera && !numeric) || isBookkeeping(key)) continue;
    const found = isRecord(stats) ? stats[key] : undefined;
    const more = { ...about, ...(camera ? { camera: key } : mended) };
    if (!isRecord(found)) {
      const code = camera ? 'STATS_CAMERA' : 'STATS_MISSING';
      const fix = camera
        ? { fix: "keep use_imagenet_stats=true: the camera's own statistics are then not needed" }
        : {};
      findings.add(code, path, `no statistics of "${key}"`, { ...more, ...fix });
      continue;
    }
    for (const name of ['min', 'max', 'mean', 'std', ...quantileNames]) {
      const value = found[name];
      // Quantiles are younger than the format.
      if (value === undefined && (quantileNames as readonly string[]).includes(name)) continue;
      const list = flat(value);
      if (numeric && list.length !== elements(shape)) {
        const message = `${name} of "${key}" has ${list.length} values, info.json says ${elements(shape)}`;
        findings.add('STATS_SHAPE', path, message, more);
        break;
      }
      if (list.every((x) => Number.isFinite(x))) continue;
      findings.add('STATS_NOT_FINITE', path, `${name} of "${key}" is NaN or infinite`, more);
      break;
    }
  }
}

/** Numbers of nested lists; JSON's null stands for NaN and infinity. */
function flat(value: unknown): number[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value.flatMap(flat);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number | bigint>, Number);
  return [value === null ? Number.NaN : Number(value)];
}

/** The data must lie between the extremes that the statistics give, or they are about other data. */
function checkStale(
  { features }: LeRobotDatasetMetadata,
  stats: unknown,
  path: string,
  findings: Findings,
  ranges: ValueRanges,
): void {
  if (ranges.incomplete || !isRecord(stats)) return;
  for (const [key, { min, max }] of ranges.byKey) {
    const found = stats[key];
    if (!isRecord(found) || isBookkeeping(key) || features[key]!.dtype === 'bool') continue;
    const [low, high] = [flat(found.min), flat(found.max)];
    if (low.length !== min.length || high.length !== max.length) continue;
    const wrong = [...min.keys()].find((i) => !near(low[i]!, min[i]!) || !near(high[i]!, max[i]!));
    if (wrong === undefined) continue;
    const message =
      `"${key}", element ${wrong}: the data reach from ${min[wrong]} to ${max[wrong]}, ` +
      `the statistics say from ${low[wrong]} to ${high[wrong]}`;
    findings.add('STATS_STALE', path, message, mended);
  }
}

function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-4 * Math.max(1, Math.abs(a), Math.abs(b));
}

/** The statistics per episode of v3.0. */
async function checkTables(root: string, findings: Findings): Promise<void> {
  for (const path of episodesFiles(root)) {
    const table = await readTable(path);
    const episodes = table.get('episode_index')!.values;
    for (const [name, { values }] of table) {
      if (!name.startsWith('stats/')) continue;
      const row = values.findIndex((value) => value !== null && flat(value).some((x) => !Number.isFinite(x)));
      if (row === -1) continue;
      findings.add('STATS_NOT_FINITE', path, `${name} is NaN or infinite`, {
        episode: Number(episodes[row]),
        ...mended,
      });
    }
  }
}
