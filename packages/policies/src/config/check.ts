import { deletePath, getPath, isPlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';
import { distance } from 'fastest-levenshtein';
import type { z } from 'zod';
import { type FieldSpec, listFields } from './fields.js';

/** One thing wrong with a configuration. */
export interface Problem {
  /** Dotted name of the field, as in flags: `policy.n_action_steps`. */
  field: string;
  /** The value found there; undefined if the field is missing. */
  found: unknown;
  /** What was expected instead, naming the allowed values and, if it helps, the flag to change. */
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
 * Thrown when a configuration is invalid. `problems` lists everything that is wrong, not only the first problem.
 *
 * With one problem the message is a single line, otherwise a count followed by one line each. It starts with `source` (a file) if
 * given.
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

/**
 * The candidate closest to `name`, or null if none is plausible (more than 60 % of its characters would have to change).
 *
 * A candidate whose last part matches beats a similar spelling: `lr` finds `optimizer.lr`, `chunk_size` finds `policy.chunk_size`.
 */
export function nearest(name: string, candidates: Iterable<string>): string | null {
  const plain = name.replaceAll('-', '_');
  let best: string | null = null;
  let fewest = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const edits = candidate.endsWith(`.${plain}`) ? 0.5 : distance(plain, candidate);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best !== null && fewest <= 0.6 * Math.max(plain.length, best.length) ? best : null;
}

export interface Checked<C> {
  /** The typed configuration with all defaults filled in; null if there are problems. */
  config: C | null;
  problems: Problem[];
}

/**
 * Checks a plain object against a schema, then the rules between fields, and reports all problems at once.
 *
 * If single fields are wrong, the rules between the other fields are still checked, with the wrong fields at their defaults; a rule
 * that involves a wrong field (`Problem.related`) is not reported.
 */
export function checkConfig<C>(
  schema: z.ZodType<C>,
  plain: unknown,
  rules: (config: C) => Problem[] = () => [],
): Checked<C> {
  const parsed = schema.safeParse(plain);
  if (parsed.success) {
    const problems = rules(parsed.data);
    return { config: problems.length === 0 ? parsed.data : null, problems };
  }
  const fields = listFields(schema);
  const problems = unique(parsed.error.issues.flatMap((issue) => toProblems(issue, plain, fields)));
  return { config: null, problems: [...problems, ...rulesBesides(problems, schema, plain, rules)] };
}

function rulesBesides<C>(
  wrong: Problem[],
  schema: z.ZodType<C>,
  plain: unknown,
  rules: (config: C) => Problem[],
): Problem[] {
  if (!isPlainObject(plain)) return [];
  const rest = structuredClone(plain);
  for (const { field } of wrong) deletePath(rest, field);
  const parsed = schema.safeParse(rest);
  if (!parsed.success) return [];
  const names = new Set(wrong.map(({ field }) => field));
  return rules(parsed.data).filter(
    ({ field, related = [] }) => ![field, ...related].some((name) => names.has(name)),
  );
}

function toProblems(issue: z.core.$ZodIssue, plain: unknown, fields: FieldSpec[]): Problem[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const field = path === '' ? key : `${path}.${key}`;
      return unknownField(field, getPath(plain, field), fields);
    });
  }
  const field = fields.filter((one) => path === one.path || path.startsWith(`${one.path}.`)).at(-1);
  // An unknown `type` is reported at the type field, anything inside a list or dict at the whole field.
  const name = field?.kind === 'value' ? field.path : path;
  const found = getPath(plain, name);
  const expected = field === undefined ? issue.message : `expected ${field.type}`;
  return [{ field: name, found, message: found === undefined ? `missing, ${expected}` : expected }];
}

/** The problem for an unknown field; suggests the closest known name. */
export function unknownField(name: string, found: unknown, fields: FieldSpec[], dashes = ''): Problem {
  const near = nearest(
    name,
    fields.map(({ path }) => path),
  );
  const hint = near === null ? '' : `; did you mean ${dashes}${near}?`;
  return { field: `${dashes}${name}`, found, message: `no such ${dashes === '' ? 'field' : 'flag'}${hint}` };
}

function unique(problems: Problem[]): Problem[] {
  return [...new Map(problems.map((problem) => [problem.field, problem])).values()];
}
