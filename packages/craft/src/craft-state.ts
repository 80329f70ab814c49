import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { DualState } from './dual-state.js';
import { TaskLosses } from './task-losses.js';

/** File of a checkpoint's `training_state/` that holds everything of CRaFT's but tensors and history. */
export const STATE_FILE = 'craft_state.json';

/** What a run needs to go on exactly where it stopped, besides the history. */
export interface CraftState {
  dual: DualState;
  /** Retention loss before the first step; null until measured. */
  startLoss: number | null;
  task: TaskLosses;
  /** What retention terms remember, by mode. */
  terms: Record<string, unknown>;
}

const start = z.number().nullable();

const stateSchema = z.discriminatedUnion('version', [
  // Before there were retention modes with a state of their own.
  z.strictObject({ version: z.literal(1), dual: z.unknown(), start_retention_loss: start }),
  z.strictObject({
    version: z.literal(2),
    dual: z.unknown(),
    start_retention_loss: start,
    task_losses: z.unknown(),
    terms: z.record(z.string(), z.unknown()),
  }),
]);

/** Numbers in full: reading them back gives the same bits. */
export function formatCraftState({ dual, startLoss, task, terms }: CraftState): string {
  const state = { version: 2, dual, start_retention_loss: startLoss, task_losses: task, terms };
  return JSON.stringify(state, null, 4);
}

/** @throws CraftError `CRAFT_STATE_MISSING`, `CRAFT_STATE_INVALID` */
export function parseCraftState(text: string | null): CraftState {
  if (text === null) {
    throw new CraftError(
      'CRAFT_STATE_MISSING',
      `${STATE_FILE} is missing from the checkpoint: was it trained with craft.enabled?`,
    );
  }
  const parsed = stateSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(`: ${issue!.path.join('.')}: ${issue!.message}; the file is damaged`);
  }
  const state = parsed.data;
  const task = state.version === 1 ? new TaskLosses() : TaskLosses.fromJSON(state.task_losses);
  if (task === null) throw invalid(': task_losses: the file is damaged');
  return {
    dual: DualState.fromJSON(state.dual, STATE_FILE),
    startLoss: state.start_retention_loss,
    task,
    terms: state.version === 1 ? {} : state.terms,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(' is not JSON; the file is damaged');
  }
}

function invalid(what: string): CraftError {
  return new CraftError('CRAFT_STATE_INVALID', `${STATE_FILE}${what}`);
}
