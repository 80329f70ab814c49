import type { Column } from '../../dataset/columns.js';
import type { EpisodeRecord, LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import type { FindingCode, Findings } from './finding.js';

/** The rows of one data file, and which episodes the metadata puts there. */
export interface Rows {
  readonly metadata: LeRobotDatasetMetadata;
  readonly path: string;
  /** In the order of their rows. */
  readonly episodes: readonly EpisodeRecord[];
  readonly findings: Findings;
}

/** Whether the file has as many rows of each episode as the metadata says. */
export function checkRowCounts(rows: Rows, found: number, episodeIndex: Column | undefined): boolean {
  const { metadata, path, episodes, findings } = rows;
  const expected = episodes.reduce((sum, { length }) => sum + length, 0);
  if (found === expected) return true;
  const last = metadata.episodes.at(-1)!;
  if (found > expected && metadata.version === '3.0' && episodes.at(-1) === last) {
    // Reading goes by the metadata, so the episodes before are whole.
    const message = `${found - expected} rows at the end belong to no episode: a recording was cut off while saving`;
    const fix = 'LeRobotDatasetWriter.open removes them, craft dataset convert leaves them out';
    findings.add('ROWS_UNLISTED', path, message, { fix });
    return true;
  }
  const counts = new Map<number, number>();
  for (const value of episodeIndex?.data ?? [])
    counts.set(Number(value), (counts.get(Number(value)) ?? 0) + 1);
  const differing = episodes.filter(({ episodeIndex: e, length }) => (counts.get(e) ?? 0) !== length);
  const fix = 'download or record the file again, or leave the episode out';
  for (const { episodeIndex: episode, length } of differing) {
    const message = `${counts.get(episode) ?? 0} rows, ${metadata.episodesSource} says ${length}`;
    findings.add('ROW_COUNT', path, message, { episode, fix });
  }
  if (differing.length === 0)
    findings.add('ROW_COUNT', path, `${found} rows, ${metadata.episodesSource} says ${expected}`, { fix });
  return false;
}

/** Checks the columns that LeRobot keeps itself: each episode's first wrong frame of each column is one finding. */
export function checkBookkeeping(rows: Rows, columns: ReadonlyMap<string, Column>, toleranceS: number): void {
  const { metadata, episodes } = rows;
  const { fps, tasks, version } = metadata;
  let row = 0;
  for (const episode of episodes) {
    const at = row;
    row += episode.length;
    const check = (
      code: FindingCode,
      key: string,
      expected: (frame: number) => number,
      fits: (value: number, frame: number) => boolean = (value, frame) => value === expected(frame),
      fix = 'record or download the episode again',
    ): void => firstWrong(rows, columns.get(key), { code, key, episode, row: at, expected, fits, fix });
    check('EPISODE_INDEX', 'episode_index', () => episode.episodeIndex);
    check('FRAME_INDEX', 'frame_index', (frame) => frame);
    const near = (value: number, frame: number): boolean => Math.abs(value - frame / fps) <= toleranceS;
    check('TIMESTAMP', 'timestamp', (frame) => frame / fps, near, `check fps (${fps}) in meta/info.json`);
    const v3 = version === '3.0';
    check(
      v3 ? 'INDEX' : 'INDEX_V2',
      'index',
      (frame) => episode.fromIndex + frame,
      undefined,
      `craft dataset convert writes it right${v3 ? ' once the rows are' : '; it is corrected on reading'}`,
    );
    check(
      'TASK_UNKNOWN',
      'task_index',
      () => Number.NaN,
      (value) => tasks.has(value),
      'add the task to the tasks file, or leave the episode out',
    );
  }
}

interface Check {
  readonly code: FindingCode;
  readonly key: string;
  readonly episode: EpisodeRecord;
  readonly row: number;
  readonly expected: (frame: number) => number;
  readonly fits: (value: number, frame: number) => boolean;
  readonly fix: string;
}

function firstWrong({ path, findings }: Rows, column: Column | undefined, check: Check): void {
  if (column === undefined) return;
  const { code, key, episode, row, expected, fits, fix } = check;
  let first = -1;
  let count = 0;
  for (let frame = 0; frame < episode.length; frame++) {
    if (fits(Number(column.data[row + frame]), frame)) continue;
    if (count++ === 0) first = frame;
  }
  if (count === 0) return;
  const wanted = expected(first);
  const target = Number.isNaN(wanted) ? ', which the tasks file does not list' : `, expected ${wanted}`;
  const more = count > 1 ? `; ${count} of ${episode.length} frames are wrong` : '';
  findings.add(code, path, `${key} is ${column.data[row + first]} at frame ${first}${target}${more}`, {
    episode: episode.episodeIndex,
    fix,
  });
}
