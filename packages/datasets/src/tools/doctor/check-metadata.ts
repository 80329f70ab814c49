import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { parseJson, parseJsonLines, readTextIfPresent } from '../../dataset/dataset-files.js';
import { isBookkeeping } from '../../dataset/dataset-info.js';
import { columnDType, elements } from '../../dataset/dtypes.js';
import type { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import { episodeTables } from '../../dataset/metadata-formats.js';
import { quantileNames } from '../../dataset/stats.js';
import { readTable } from '../metadata-tables.js';
import type { ValueRanges } from './check-data.js';
import type { Finding, Findings } from './findings.js';

const again = 'download the file again';

/** Empty files in meta/: an interrupted download or recording, or a full disk. */
export function checkEmptyFiles(findings: Findings): void {
  const meta = join(findings.root, 'meta');
  if (!existsSync(meta)) return;
  for (const name of readdirSync(meta, { recursive: true, encoding: 'utf8' }).sort()) {
    const stat = statSync(join(meta, name));
    if (stat.isFile() && stat.size === 0) {
      findings.add('FILE_EMPTY', join(meta, name), 'the file is empty', { fix: again });
    }
  }
}

/** What the metadata says about itself: totals, episodes, tasks, path templates. Returns whether the paths can be used. */
export function checkMetadata(metadata: LeRobotDatasetMetadata, findings: Findings): boolean {
  checkTotals(metadata, findings);
  checkEpisodes(metadata, findings);
  checkTasks(metadata, findings);
  return checkPaths(metadata, findings);
}

function checkTotals({ root, episodes, tasks }: LeRobotDatasetMetadata, findings: Findings): void {
  const path = join(root, 'meta', 'info.json');
  const raw = parseJson(readTextIfPresent(path) ?? '', path) as Record<string, unknown>;
  for (const [key, found] of Object.entries(actualTotals(episodes, tasks))) {
    if (raw[key] === undefined || raw[key] === found) continue;
    findings.add('TOTALS', path, `${key} is ${raw[key]}, the metadata lists ${found}`, {
      fix: 'craft dataset doctor --fix writes the right number',
      fixable: true,
    });
  }
}

/** The counts of info.json, computed from the other metadata files. */
export function actualTotals(
  episodes: LeRobotDatasetMetadata['episodes'],
  tasks: LeRobotDatasetMetadata['tasks'],
): Record<'total_episodes' | 'total_frames' | 'total_tasks', number> {
  return {
    total_episodes: episodes.length,
    total_frames: episodes.reduce((sum, episode) => sum + episode.length, 0),
    total_tasks: tasks.size,
  };
}

function checkEpisodes(
  { episodes, episodesSource, version }: LeRobotDatasetMetadata,
  findings: Findings,
): void {
  let from = 0;
  episodes.forEach((episode, i) => {
    const { episodeIndex } = episode;
    const previous = episodes[i - 1]?.episodeIndex ?? -1;
    if (episodeIndex !== previous + 1) {
      const which =
        episodeIndex === previous + 2
          ? `episode ${previous + 1}`
          : `episodes ${previous + 1} to ${episodeIndex - 1}`;
      findings.add(
        'EPISODE_NUMBERS',
        episodesSource,
        `${which} missing: LeRobot looks episodes up by position`,
        {
          episode: episodeIndex,
          fix: 'craft dataset convert renumbers the episodes',
        },
      );
    }
    if (version === '3.0' && episode.fromIndex !== from) {
      findings.add(
        'EPISODE_RANGE',
        episodesSource,
        `dataset_from_index is ${episode.fromIndex}, the episodes before have ${from} frames`,
        { episode: episodeIndex, fix: again },
      );
    }
    from = episode.fromIndex + episode.length;
  });
}

function checkTasks({ tasks, version }: LeRobotDatasetMetadata, findings: Findings): void {
  const numbers = [...tasks.keys()];
  const wrong = numbers.findIndex((number, i) => number !== i);
  if (wrong === -1) return;
  const file = version === '3.0' ? 'meta/tasks.parquet' : 'meta/tasks.jsonl';
  findings.add(
    'TASK_NUMBERS',
    file,
    `row ${wrong} has task_index ${numbers[wrong]}: LeRobot looks tasks up by position`,
    {
      fix: 'craft dataset convert renumbers the tasks',
    },
  );
}

function checkPaths(metadata: LeRobotDatasetMetadata, findings: Findings): boolean {
  const first = metadata.episodes[0];
  if (first === undefined) return true;
  const paths = [
    () => metadata.dataPath(first),
    ...Object.keys(first.videos).map((key) => () => metadata.videoPath(first, key)),
  ];
  for (const path of paths) {
    try {
      path();
    } catch (error) {
      if (!(error instanceof CraftError) || error.code !== 'DATASET_PATH_INVALID') throw error;
      findings.addError('PATH_ESCAPES', 'meta/info.json', error, {
        fix: 'correct data_path and video_path by hand; do not trust a dataset from elsewhere that has such a path',
      });
      return false;
    }
  }
  return true;
}

const mended = { fix: 'craft dataset doctor --fix recomputes them', fixable: true } as const;

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
      // Older versions of LeRobot wrote no quantiles.
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

/** The data must lie between the minimum and maximum of the statistics; otherwise they are not of this data. */
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
  for (const path of episodeTables(root)) {
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

/** Files below data/ and videos/ that the metadata does not mention, and what an interrupted recording left behind. */
export function checkOrphans(findings: Findings, known: ReadonlySet<string>): void {
  for (const folder of ['data', 'videos', 'images', 'meta']) {
    for (const path of filesBelow(join(findings.root, folder))) {
      if (/^\.tmp-|^\..*\.tmp$|\.incomplete$/.test(basename(path))) {
        findings.add('ORPHAN', path, 'left behind by a recording or download that was cut off', {
          fix: 'delete it when nothing is being written',
        });
      } else if ((folder === 'data' || folder === 'videos') && !known.has(path)) {
        findings.add('ORPHAN', path, 'no episode of the metadata uses the file', {
          fix: 'delete it, or check whether the metadata is complete',
        });
      }
    }
  }
}

function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.bak'))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch {
    // No such folder: a dataset without cameras has no videos/.
    return [];
  }
}
