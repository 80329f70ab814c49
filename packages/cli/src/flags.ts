import { getPath, isPlainObject, type PlainObject, setPath } from '@craft-ft/datasets/json';
import {
  branches,
  type FieldSpec,
  type JsonSchema,
  nearest,
  type Problem,
  unknownField,
} from '@craft-ft/policies/config';
import { findNotYet, type NotYet } from '@craft-ft/training/config';
import { parse } from 'yaml';
import { UsageError } from './command.js';

/** One flag of a command line. `text` is null for a bare `--name`. */
export interface Flag {
  name: string;
  text: string | null;
}

/** Flags that control how the configuration is assembled and are not fields of it. */
interface SpecialFlag {
  name: string;
  type: string;
  description: string;
}

/** The known flags: fields of the schema, special ones, and LeRobot's that have no effect here. */
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

/** A boolean takes the next word only if that is also a boolean; `--resume` also accepts the folder of a run. */
function wantsValue(name: string, next: string, table: FlagTable): boolean {
  const field = table.fields.find(({ path }) => path === name);
  return field?.schema.type !== 'boolean' || name === 'resume' || readBoolean(next) !== undefined;
}

/**
 * Writes the flags into a configuration tree, each parsed as its field's type. Changes `tree`.
 *
 * @returns a problem for every unknown flag (naming the nearest one) and every value of the wrong type.
 */
export function applyFlags(tree: PlainObject, flags: readonly Flag[], table: FlagTable): Problem[] {
  const problems: Problem[] = [];
  // Types first: a group's type determines its fields, and so how their text is parsed.
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

/** The field of that name; if several choices of a group have it, the one in the choice that the tree has made. */
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

/**
 * Parses the text of a flag as the type that the field's schema requires.
 *
 * Understands what LeRobot's users write: `true/True/false/False`, `null/None`, `1e-5`, `100_000`, lists and dicts as JSON,
 * YAML (`[a, b]`, `{a: b}`) or Python literals with simple quotes. Ranges are not checked here.
 *
 * @returns undefined if the text is not of that type.
 */
export function coerceText(text: string, schema: JsonSchema): unknown {
  const members = branches(schema);
  const nullable = members.some((member) => member.type === 'null');
  if (nullable && /^(null|none|~)$/i.test(text.trim())) return null;
  for (const member of members) {
    const value = coerceOne(text, member);
    if (value !== undefined) return value;
  }
  return undefined;
}

function coerceOne(text: string, schema: JsonSchema): unknown {
  switch (schema.type) {
    case 'boolean':
      return readBoolean(text);
    case 'integer':
    case 'number': {
      const value = readNumber(text);
      return schema.type === 'integer' && !Number.isInteger(value) ? undefined : value;
    }
    case 'string':
      return schema.enum === undefined || schema.enum.includes(text) ? text : undefined;
    case 'array': {
      const value = readYaml(text);
      return Array.isArray(value) ? value : undefined;
    }
    case 'object': {
      const value = readYaml(text);
      return isPlainObject(value) ? value : undefined;
    }
    default:
      return undefined;
  }
}

/** The value of a flag of unknown type: boolean, null, number, list or dict if it looks like one, otherwise text. */
export function looseValue(text: string): unknown {
  if (/^(null|none|~)$/i.test(text.trim())) return null;
  const structured = /^\s*[[{]/.test(text) ? readYaml(text) : undefined;
  return readBoolean(text) ?? readNumber(text) ?? structured ?? text;
}

/** `true` or `false` in any capitalisation, or undefined. */
export function readBoolean(text: string): boolean | undefined {
  const word = text.trim().toLowerCase();
  return word === 'true' ? true : word === 'false' ? false : undefined;
}

function readNumber(text: string): number | undefined {
  const plain = text.trim().replace(/(?<=\d)_(?=\d)/g, '');
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) ? Number(plain) : undefined;
}

function readYaml(text: string): unknown {
  try {
    return parse(text, { logLevel: 'error' });
  } catch {
    return undefined;
  }
}

/** The words of `a,b` or `[a, b]`, as LeRobot's users write lists. */
export function commaList(text: string): string[] {
  return text
    .replace(/^\s*\[|\]\s*$/g, '')
    .split(',')
    .map((word) => word.trim().replace(/^(['"])(.*)\1$/, '$2'))
    .filter((word) => word !== '');
}

/** A problem for every unknown word (naming the nearest one), every duplicate, and an empty list. */
export function unknownWords(field: string, text: string, known: readonly string[]): Problem[] {
  const words = commaList(text);
  if (words.length === 0) {
    return [{ field, found: text, message: `expected some of ${known.join(', ')}` }];
  }
  const twice = new Set(words.filter((word, i) => words.indexOf(word) < i && known.includes(word)));
  return [
    ...words
      .filter((word) => !known.includes(word))
      .map((word) => {
        const near = nearest(word, known);
        const message = near === null ? `expected some of ${known.join(', ')}` : `did you mean ${near}?`;
        return { field, found: word, message };
      }),
    ...[...twice].map((word) => ({ field, found: text, message: `expected ${word} once` })),
  ];
}
