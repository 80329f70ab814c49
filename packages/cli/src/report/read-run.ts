import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { METHODS } from '@craft-ft/craft/methods';
import { CraftError } from '@craft-ft/torch/errors';
import { methodFile } from '../train-config.js';
import { flattenConfig } from './blocks.js';

/** Numbers by name: a line of the log, or a retention step. */
export type Numbers = Readonly<Record<string, number>>;

/** Everything that a report shows about a run. */
export interface RunData {
  /** The run's name in a legend. */
  name: string;
  folder: string;
  /** Lines of `metrics.jsonl`, in order of `step`, which counts completed steps. */
  log: readonly Numbers[];
  /** Retention steps, or lines of the log beyond the history; `step` counts completed steps. Empty without CRaFT. */
  retention: readonly Numbers[];
  /** The configuration by dotted names; null if no checkpoint holds it. */
  config: ReadonlyMap<string, unknown> | null;
  /** Loss on the anchors before the first step. */
  startRetentionLoss: number | null;
  /** Notes for the reader about what is missing or unfinished. */
  notes: readonly string[];
}

/** Data of a run still in memory, more current than its files. */
export interface RunSource {
  config?: unknown;
  /** Text of the method's files (`craft_state.json`, `lambda_history.csv`), by name. */
  stateFiles?: ReadonlyMap<string, string>;
}

/**
 * Reads the folder of a run: `metrics.jsonl`, and from its last checkpoint the configuration, λ history and initial loss, if they are
 * there. The run may be unfinished: a truncated last line is ignored.
 *
 * @param folder `output_dir` of a `craft train` run
 * @throws CraftError REPORT_NO_RUN, REPORT_INVALID naming file and line
 */
export function readRun(folder: string, source: RunSource = {}): RunData {
  const notes: string[] = [];
  const log = readLog(folder, notes);
  const checkpoint = lastCheckpoint(folder);
  const read = (part: string, file: string) => {
    const path = checkpoint === null ? null : join(checkpoint, part, file);
    return path !== null && existsSync(path) ? { text: readFileSync(path, 'utf8'), path } : null;
  };
  const state = (file: string) => {
    const text = source.stateFiles?.get(file);
    if (source.stateFiles === undefined) return read('training_state', file);
    return text === undefined ? null : { text, path: file };
  };
  const history = state('lambda_history.csv');
  const start = state('craft_state.json');
  const config = source.config ?? savedConfig(read);
  if (config === null) notes.push('No checkpoint holds the configuration of this run.');
  const flat = config === null ? null : flattenConfig(config);
  const [step, steps] = [log.at(-1)!.step!, flat?.get('steps')];
  if (typeof steps === 'number' && step < steps) {
    notes.push(`Not finished: step ${step} of ${steps}.`);
  }
  return {
    name: basename(resolve(folder)),
    folder,
    log,
    retention: withLog(history === null ? [] : parseCsv(history.text, history.path), log),
    config: flat,
    startRetentionLoss: start === null ? null : startLoss(start.text, start.path),
    notes,
  };
}

function readLog(folder: string, notes: string[]): Numbers[] {
  const path = join(folder, 'metrics.jsonl');
  if (!existsSync(folder)) {
    throw new CraftError(
      'REPORT_NO_RUN',
      `${folder}: no such folder; give the output_dir of a craft train run`,
    );
  }
  if (!statSync(folder).isDirectory() || !existsSync(path)) {
    const message =
      'there is no metrics.jsonl in it; give the output_dir of a craft train run that has logged a line';
    throw new CraftError('REPORT_NO_RUN', `${folder}: ${message}`);
  }
  const lines = readFileSync(path, 'utf8').split('\n');
  const records: Numbers[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const record = parseJson(line);
    // A complete line ends with a newline; anything after the last newline was cut off.
    if (record === undefined && i === lines.length - 1) {
      notes.push('The last line of metrics.jsonl was cut off and is left out.');
    } else if (!isObject(record) || typeof record.step !== 'number') {
      throw new CraftError('REPORT_INVALID', `${path}: line ${i + 1} is damaged; remove that line`);
    } else records.push(numbersOf(record));
  }
  if (records.length === 0) {
    throw new CraftError(
      'REPORT_NO_RUN',
      `${path}: no complete line yet; wait for the first line of the log`,
    );
  }
  // A resumed run may have logged a step twice: the later line counts.
  return [...new Map(records.map((record) => [record.step!, record])).values()].sort(
    (a, b) => a.step! - b.step!,
  );
}

// JSON has no NaN: such a value is null in the file and is omitted here.
function numbersOf(record: Record<string, unknown>): Numbers {
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}

/** The folder that `checkpoints/last` points to, or else the one with the highest step. */
function lastCheckpoint(folder: string): string | null {
  const checkpoints = join(folder, 'checkpoints');
  if (!existsSync(checkpoints)) return null;
  const last = join(checkpoints, 'last');
  if (existsSync(last)) return last;
  const steps = readdirSync(checkpoints).filter((name) => /^\d+$/.test(name));
  const highest = steps.sort((a, b) => Number(a) - Number(b)).at(-1);
  return highest === undefined ? null : join(checkpoints, highest);
}

type Read = (part: string, file: string) => { text: string; path: string } | null;

function savedConfig(read: Read): unknown {
  const train = read('pretrained_model', 'train_config.json');
  if (train === null) return null;
  const groups = METHODS.flatMap((method) => {
    const file = read('pretrained_model', methodFile(method));
    return file === null ? [] : [[method.name, objectIn(file)] as const];
  });
  return { ...objectIn(train), ...Object.fromEntries(groups) };
}

function objectIn({ text, path }: { text: string; path: string }): Record<string, unknown> {
  const value = parseJson(text);
  if (isObject(value)) return value;
  throw new CraftError('REPORT_INVALID', `${path} is damaged; restore the checkpoint or remove it`);
}

function startLoss(text: string, path: string): number | null {
  const value = objectIn({ text, path }).start_retention_loss;
  return typeof value === 'number' ? value : null;
}

/** Parses the history. Its first column counts steps from 0; the result counts them as in the log. */
function parseCsv(text: string, path: string): Numbers[] {
  const [header = '', ...rows] = text.trimEnd().split('\n');
  const columns = header.split(',');
  if (!columns.includes('step')) {
    throw new CraftError(
      'REPORT_INVALID',
      `${path}: line 1 has no column "step"; restore the checkpoint or remove it`,
    );
  }
  return rows.map((row, i) => {
    const cells = row.split(',');
    if (cells.length !== columns.length) {
      const message = `line ${i + 2} has ${cells.length} values for ${columns.length} columns`;
      throw new CraftError('REPORT_INVALID', `${path}: ${message}; restore the checkpoint or remove it`);
    }
    const values = columns.map((column, j) => [column, Number(cells[j])] as const);
    return { ...Object.fromEntries(values), step: Number(cells[columns.indexOf('step')]) + 1 };
  });
}

// Only the log covers the time since the last checkpoint. A line shows the last retention step before it, which the history may already
// have.
function withLog(history: readonly Numbers[], log: readonly Numbers[]): Numbers[] {
  const last = history.at(-1);
  const further = log.filter(({ step, retention_loss: loss, lambda }) => {
    if (loss === undefined || step! <= (last?.step ?? 0)) return false;
    return loss !== last?.retention_loss || lambda !== last?.lambda;
  });
  return [...history, ...further];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
