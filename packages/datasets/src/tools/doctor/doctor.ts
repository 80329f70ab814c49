import { resolve } from 'node:path';
import type { OnWarning } from '../../dataset/files.js';
import { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import { probeVideo, type VideoProbe } from '../probe-video.js';
import { checkData } from './check-data.js';
import { checkEmptyFiles, checkMetadata } from './check-metadata.js';
import { checkOrphans } from './check-orphans.js';
import { checkStats } from './check-stats.js';
import { checkVideos } from './check-videos.js';
import { type Finding, Findings } from './finding.js';
import { ValueRanges } from './value-ranges.js';

export interface DoctorOptions {
  /** Largest distance of a timestamp from frame / fps, and of a video frame from its time, seconds. Default 1e-4. */
  toleranceS?: number;
  /** Looks at a video. Default {@link probeVideo}, which decodes nothing; `decodeVideo` finds damage inside frames too. */
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
 * Checks a whole dataset (v2.0, v2.1, v3.0): every file there and readable, rows and columns against the metadata, indices,
 * timestamps, tasks, finite values, every episode's window in every video, statistics, files that belong to nothing. Changes
 * nothing. What cannot be checked because something before it is broken is left out.
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
  // What the totals say is a finding of its own.
  const note: OnWarning = (message) => {
    const text = message.replaceAll(`${findings.root}/`, '');
    if (!text.includes('; the list is used')) findings.add('METADATA_NOTE', 'meta', text);
  };
  try {
    return await LeRobotDatasetMetadata.load(findings.root, { onWarning: note });
  } catch (error) {
    // An empty file has been named already.
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
