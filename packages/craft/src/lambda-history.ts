import { CraftError } from '@craft-ft/torch';

/** What happened in one retention step. */
export interface RetentionRecord {
  /** Counted from 0 over the run. */
  step: number;
  /** L_task of the step's batch. */
  task_loss: number;
  /** L_retain of the step's anchors. */
  retention_loss: number;
  /** ε of the step. */
  epsilon: number;
  /** λ that weighed the merge. */
  lambda_used: number;
  /** λ after the step's update. */
  lambda: number;
  /** ⟨g_t, g_r⟩ */
  grad_dot: number;
  grad_cos: number;
  /** 1 where the gradients conflicted, else 0; the share of conflicts where each module or tensor is decided on its own. */
  grad_conflict: number;
}

const COLUMNS: readonly (keyof RetentionRecord)[] = [
  'step',
  'task_loss',
  'retention_loss',
  'epsilon',
  'lambda_used',
  'lambda',
  'grad_dot',
  'grad_cos',
  'grad_conflict',
];

/** The history as CSV; numbers in full, so that reading it back gives the same bits. */
export function formatHistory(records: readonly RetentionRecord[]): string {
  const rows = records.map((record) => COLUMNS.map((column) => record[column]).join(','));
  return `${[COLUMNS.join(','), ...rows].join('\n')}\n`;
}

/** @throws CraftError CRAFT_STATE_INVALID naming the line */
export function parseHistory(text: string, source: string): RetentionRecord[] {
  const [header, ...rows] = text.trimEnd().split('\n');
  if (header !== COLUMNS.join(',')) {
    throw new CraftError(
      'CRAFT_STATE_INVALID',
      `${source}: line 1: expected the columns ${COLUMNS.join(',')}`,
    );
  }
  return rows.map((row, i) => {
    const values = row.split(',').map((cell) => (cell === '' ? Number.NaN : Number(cell)));
    if (values.length !== COLUMNS.length || values.some(Number.isNaN)) {
      throw new CraftError(
        'CRAFT_STATE_INVALID',
        `${source}: line ${i + 2}: expected ${COLUMNS.length} numbers`,
      );
    }
    return Object.fromEntries(COLUMNS.map((column, j) => [column, values[j]])) as unknown as RetentionRecord;
  });
}
