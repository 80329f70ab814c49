import { isPlainObject } from '@craft-ft/datasets/json';
import { branches, type JsonSchema } from '@craft-ft/policies/config';
import { parse } from 'yaml';

/**
 * Reads the text of a flag as a value of the type that the field's schema asks for.
 *
 * Understands what LeRobot's users write: `true/True/false/False`, `null/None`, `1e-5`, `100_000`, lists and dicts as JSON,
 * YAML (`[a, b]`, `{a: b}`) or Python literals with simple quotes. Ranges are not checked here.
 *
 * @returns undefined when the text is of another type.
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

/** The value of a flag whose type is not known: boolean, null, number, list or dict if it looks like one, else text. */
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
