import { getPath, type PlainObject, setPath } from '@craft-ft/datasets/json';
import { type FieldSpec, type Problem, unknownField } from '@craft-ft/policies/config';
import { findNotYet, type NotYet } from '@craft-ft/training/config';
import { coerceText, looseValue, readBoolean } from './coerce.js';
import { UsageError } from './command.js';

/** One flag of a command line. `text` is null for a bare `--name`. */
export interface Flag {
  name: string;
  text: string | null;
}

/** Flags that steer how the configuration is put together and are no field of it. */
export interface SpecialFlag {
  name: string;
  type: string;
  description: string;
}

/** The flags that exist: fields of the schema, special ones, and LeRobot's that have no effect here. */
export interface FlagTable {
  fields: FieldSpec[];
  special: readonly SpecialFlag[];
  notYet: readonly NotYet[];
}

/** Other names of fields: LeRobot users look for the first, LeRobot itself has the second. */
const ALIASES: Readonly<Record<string, string>> = {
  'dataset.tolerance_s': 'tolerance_s',
  'accelerator.gradient_accumulation.steps': 'gradient_accumulation_steps',
  env_eval_freq: 'eval_freq',
  'method.type': 'method',
};

/**
 * Splits a command line into flags: `--name=value`, `--name value`, and bare `--name` for booleans.
 *
 * @throws UsageError for anything that is not a flag or its value.
 */
export function splitFlags(argv: readonly string[], table: FlagTable): Flag[] {
  const flags: Flag[] = [];
  for (let i = 0; i < argv.length; i++) {
    const token = argv[i]!;
    if (!token.startsWith('--') || token === '--') {
      throw new UsageError(`unexpected argument ${token}; flags are written --name=value`);
    }
    const equals = token.indexOf('=');
    if (equals >= 0) {
      flags.push({ name: canonical(token.slice(2, equals)), text: token.slice(equals + 1) });
      continue;
    }
    const name = canonical(token.slice(2));
    const next = argv[i + 1];
    const takesNext = next !== undefined && !next.startsWith('--') && wantsValue(name, next, table);
    flags.push({ name, text: takesNext ? next : null });
    if (takesNext) i++;
  }
  return flags;
}

function canonical(name: string): string {
  return ALIASES[name] ?? name;
}

/** A boolean takes the next word only if that is a boolean too; `--resume` also takes the folder of a run. */
function wantsValue(name: string, next: string, table: FlagTable): boolean {
  const field = table.fields.find(({ path }) => path === name);
  return field?.schema.type !== 'boolean' || name === 'resume' || readBoolean(next) !== undefined;
}

/**
 * Writes the flags into a configuration tree, each read as its field's type. Changes `tree`.
 *
 * @returns a problem for every flag that does not exist (naming the nearest one) or whose value is of another type.
 */
export function applyFlags(tree: PlainObject, flags: readonly Flag[], table: FlagTable): Problem[] {
  const problems: Problem[] = [];
  // Types first: which fields a group has, and so how their text is read, depends on its type.
  const ordered = [...flags].sort(
    (a, b) => Number(b.name.endsWith('.type')) - Number(a.name.endsWith('.type')),
  );
  for (const { name, text } of ordered) {
    const field = findField(name, tree, table.fields);
    if (field === null) {
      if (findNotYet(name, table.notYet) !== null)
        setPath(tree, name, text === null ? true : looseValue(text));
      else problems.push(unknownFlag(name, text, table));
      continue;
    }
    const value = text === null ? bareValue(field) : coerceText(text, field.schema);
    if (value !== undefined) setPath(tree, name, value);
    else problems.push({ field: `--${name}`, found: text ?? undefined, message: `expected ${field.type}` });
  }
  return problems;
}

function bareValue(field: FieldSpec): true | undefined {
  return field.schema.type === 'boolean' ? true : undefined;
}

/** The field of that name, in the choice that the tree has made where several choices have it. */
function findField(name: string, tree: PlainObject, fields: FieldSpec[]): FieldSpec | null {
  const named = fields.filter(({ path }) => path === name);
  const chosen = named.find(
    ({ variant }) => variant === null || getPath(tree, `${variant.group}.type`) === variant.type,
  );
  return chosen ?? named[0] ?? null;
}

function unknownFlag(name: string, text: string | null, { fields, special }: FlagTable): Problem {
  const known = [...fields, ...special.map(({ name: path }) => ({ path }) as FieldSpec)];
  return unknownField(name, text ?? undefined, known, '--');
}
