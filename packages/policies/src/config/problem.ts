import { CraftError } from '@craft-ft/torch/errors';

/** One thing wrong with a configuration. */
export interface Problem {
  /** Dotted name of the field, as in flags: `policy.n_action_steps`. */
  field: string;
  /** The value found there; undefined where the field is missing. */
  found: unknown;
  /** What was expected instead, naming the allowed values and, where it helps, the flag to change. */
  message: string;
  /** Other fields this problem depends on; the problem is not reported while one of them is itself wrong. */
  related?: readonly string[];
}

/** `policy.n_action_steps=200: expected at most policy.chunk_size (100)`. */
export function formatProblem({ field, found, message }: Problem): string {
  return `${field}${found === undefined ? '' : `=${showValue(found)}`}: ${message}`;
}

/** A value as it would be written in a flag, cut to a length that fits a line. */
export function showValue(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/**
 * A configuration was refused. `problems` has every reason, not the first only.
 *
 * The message is one line for one problem, otherwise a count and one line each. `source` (a file) is put in front.
 */
export class ConfigError extends CraftError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], source?: string) {
    const lines = problems.map(formatProblem);
    const text = lines.length === 1 ? lines[0] : `${lines.length} problems:\n  ${lines.join('\n  ')}`;
    super('CONFIG_INVALID', source === undefined ? `${text}` : `${source}: ${text}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
