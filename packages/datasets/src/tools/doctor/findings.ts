import { relative } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { firstLine } from '../../dataset/dataset-files.js';

export type Severity = 'error' | 'warning' | 'info';

/**
 * Everything the doctor can find, and how severe it is. Errors stop training or make it wrong; warnings do not, but something is
 * inconsistent or wasted; infos need no action.
 */
export const findingCodes = {
  METADATA_UNREADABLE: 'error',
  METADATA_NOTE: 'info',
  FILE_EMPTY: 'error',
  PATH_ESCAPES: 'error',
  TOTALS: 'warning',
  EPISODE_NUMBERS: 'error',
  EPISODE_RANGE: 'error',
  TASK_NUMBERS: 'warning',
  TASK_UNKNOWN: 'error',
  DATA_MISSING: 'error',
  DATA_UNREADABLE: 'error',
  COLUMN_MISSING: 'error',
  COLUMN_EXTRA: 'warning',
  COLUMN_TYPE: 'error',
  COLUMN_VALUES: 'error',
  ROW_COUNT: 'error',
  ROWS_UNLISTED: 'warning',
  EPISODE_INDEX: 'error',
  FRAME_INDEX: 'error',
  INDEX: 'error',
  INDEX_V2: 'warning',
  TIMESTAMP: 'error',
  NOT_FINITE: 'error',
  VIDEO_MISSING: 'error',
  VIDEO_UNREADABLE: 'error',
  VIDEO_FPS: 'error',
  VIDEO_SIZE: 'error',
  VIDEO_CODEC: 'info',
  VIDEO_WINDOW: 'error',
  VIDEO_FRAMES: 'error',
  VIDEO_TIMESTAMP: 'error',
  VIDEO_OVERLAP: 'error',
  STATS_MISSING: 'error',
  STATS_CAMERA: 'warning',
  STATS_NOT_FINITE: 'error',
  STATS_SHAPE: 'error',
  STATS_STALE: 'warning',
  ORPHAN: 'warning',
} as const satisfies Record<string, Severity>;

export type FindingCode = keyof typeof findingCodes;

/** One thing that is wrong, or worth knowing. */
export interface Finding {
  readonly severity: Severity;
  readonly code: FindingCode;
  readonly episode?: number;
  /** Key of the camera. */
  readonly camera?: string;
  /** Relative to the dataset's folder. */
  readonly file: string;
  readonly message: string;
  /** What to do. */
  readonly fix?: string;
  /** Whether `fixDataset` repairs it. */
  readonly fixable?: boolean;
}

/** Collects findings about one dataset. */
export class Findings {
  readonly all: Finding[] = [];

  constructor(readonly root: string) {}

  /** @param path Absolute, or already relative to the dataset's folder. */
  add(code: FindingCode, path: string, message: string, more: Partial<Finding> = {}): void {
    this.all.push({ severity: findingCodes[code], code, file: this.relative(path), message, ...more });
  }

  /** A caught error as a finding; its message without the path, which the finding names itself. */
  addError(code: FindingCode, path: string, error: unknown, more: Partial<Finding> = {}): void {
    if (!(error instanceof CraftError)) throw error;
    const text = firstLine(error).replaceAll(`${this.root}/`, '');
    const prefix = `${this.relative(path)}: `;
    this.add(code, path, text.startsWith(prefix) ? text.slice(prefix.length) : text, more);
  }

  relative(path: string): string {
    return path.startsWith('/') ? relative(this.root, path) || '.' : path;
  }
}

/** Exit code for findings: 1 with errors, 3 with warnings but no errors, else 0. */
export function exitCode(findings: readonly Finding[]): 0 | 1 | 3 {
  if (findings.some(({ severity }) => severity === 'error')) return 1;
  return findings.some(({ severity }) => severity === 'warning') ? 3 : 0;
}
