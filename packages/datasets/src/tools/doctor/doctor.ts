import { join, resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { type OnWarning, parseJson, readTextIfPresent } from '../../dataset/dataset-files.js';
import { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import { recomputeStats, replaceFile } from '../recompute-stats.js';
import { checkData, ValueRanges } from './check-data.js';
import { actualTotals, checkEmptyFiles, checkMetadata, checkOrphans, checkStats } from './check-metadata.js';
import { checkVideos, probeVideo, type VideoProbe } from './check-videos.js';
import { type Finding, Findings } from './findings.js';

export interface DoctorOptions {
  /** Largest distance of a timestamp from frame / fps, and of a video frame from its time, seconds. Default 1e-4. */
  toleranceS?: number;
  /** Inspects a video. Default {@link probeVideo}, which decodes nothing; `decodeVideo` finds damage inside frames too. */
  probe?: VideoProbe;
}

/** What {@link examineDataset} found. */
export interface Examination {
  readonly root: string;
  /** Undefined when the metadata could not be read at all. */
  readonly metadata: LeRobotDatasetMetadata | undefined;
  /** Errors first, then warnings, then infos; within each in the order of the checks. */
  readonly findings: readonly Finding[];
}

/**
 * Checks a whole dataset (v2.0, v2.1, v3.0): that every file is present and readable, rows and columns against the metadata,
 * indices, timestamps, tasks, finite values, every episode's window in every video, statistics, orphaned files. Changes nothing.
 * Checks that depend on something broken are skipped.
 *
 * @param root The dataset's folder.
 */
export async function examineDataset(root: string, options: DoctorOptions = {}): Promise<Examination> {
  const findings = new Findings(resolve(root));
  const toleranceS = options.toleranceS ?? 1e-4;
  checkEmptyFiles(findings);
  const metadata = await load(findings);
  if (metadata !== undefined && checkMetadata(metadata, findings)) {
    const ranges = new ValueRanges();
    const data = await checkData(metadata, findings, toleranceS, ranges);
    const videos = await checkVideos(metadata, findings, toleranceS, options.probe ?? probeVideo);
    await checkStatistics(metadata, findings, ranges);
    checkOrphans(findings, new Set([...data, ...videos]));
  }
  const order = { error: 0, warning: 1, info: 2 };
  const sorted = [...findings.all].sort((a, b) => order[a.severity] - order[b.severity]);
  return { root: findings.root, metadata, findings: sorted };
}

async function load(findings: Findings): Promise<LeRobotDatasetMetadata | undefined> {
  // Wrong totals are reported as a finding of their own.
  const note: OnWarning = (message) => {
    const text = message.replaceAll(`${findings.root}/`, '');
    if (!text.includes('; the list is used')) findings.add('METADATA_NOTE', 'meta', text);
  };
  try {
    return await LeRobotDatasetMetadata.load(findings.root, { onWarning: note });
  } catch (error) {
    // An empty file has already been reported.
    if (!findings.all.some(({ code }) => code === 'FILE_EMPTY'))
      findings.addError('METADATA_UNREADABLE', 'meta', error);
    return undefined;
  }
}

async function checkStatistics(
  metadata: LeRobotDatasetMetadata,
  findings: Findings,
  ranges: ValueRanges,
): Promise<void> {
  try {
    await checkStats(metadata, findings, ranges);
  } catch (error) {
    findings.addError('METADATA_UNREADABLE', 'meta', error);
  }
}

/** What {@link fixDataset} did, and what it could not do; one sentence each. */
export interface Fixed {
  readonly done: readonly string[];
  readonly failed: readonly string[];
}

/**
 * Repairs what needs no guessing: the totals of info.json, from the metadata's own lists, and the statistics of numeric features,
 * from the data if all of it is readable. Every file is replaced atomically, its original kept as `.bak`. Data and videos are never
 * touched. Examine again afterwards.
 */
export async function fixDataset({ root, metadata, findings }: Examination): Promise<Fixed> {
  const done: string[] = [];
  const failed: string[] = [];
  if (metadata === undefined) return { done, failed };
  const fixable = findings.filter((finding) => finding.fixable === true);
  const attempt = async (what: string, step: () => unknown): Promise<void> => {
    try {
      await step();
      done.push(what);
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      failed.push(`not done: ${what}: ${error.message}`);
    }
  };
  if (fixable.some(({ code }) => code === 'TOTALS')) {
    await attempt('the totals of meta/info.json', () => {
      const path = join(root, 'meta', 'info.json');
      const info = parseJson(readTextIfPresent(path)!, path) as Record<string, unknown>;
      const totals = Object.entries(actualTotals(metadata.episodes, metadata.tasks));
      for (const [key, value] of totals) if (info[key] !== undefined) info[key] = value;
      replaceFile(path, JSON.stringify(info, null, 4));
    });
  }
  if (fixable.some(({ code }) => code.startsWith('STATS'))) {
    await attempt('the statistics of numeric features', () => recomputeStats(root, () => {}));
  }
  return { done, failed };
}
