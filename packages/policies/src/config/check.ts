import { deletePath, getPath, isPlainObject } from '@craft-ft/datasets/json';
import type { z } from 'zod';
import { type FieldSpec, listFields } from './fields.js';
import { nearest } from './nearest.js';
import type { Problem } from './problem.js';

export interface Checked<C> {
  /** The typed configuration with every default filled in; null if there are problems. */
  config: C | null;
  problems: Problem[];
}

/**
 * Checks a plain object against a schema, then the rules between fields, and reports everything that is wrong at once.
 *
 * When single fields are wrong, the rules between the other fields are still checked, with the wrong ones at their
 * defaults; a rule that involves a wrong field (`Problem.related`) stays silent.
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
  // A choice of type is reported at the type field, anything below a list or dict at the whole field.
  const name = field?.kind === 'value' ? field.path : path;
  const found = getPath(plain, name);
  const expected = field === undefined ? issue.message : `expected ${field.type}`;
  return [{ field: name, found, message: found === undefined ? `missing, ${expected}` : expected }];
}

/** The problem of a name that no field has, with the nearest one that exists. */
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
