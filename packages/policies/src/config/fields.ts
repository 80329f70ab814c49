import { z } from 'zod';

/** The part of JSON Schema that the project's zod schemas produce. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** One field of a configuration tree. Flags, `--help` and the documentation are generated from these. */
export interface FieldSpec {
  /** Dotted name: `policy.chunk_size`. */
  path: string;
  /** A group is an object whose own fields follow; as a flag it takes a whole JSON object. */
  kind: 'value' | 'group';
  /** Set when the field exists only in one choice of a group: `{ group: 'policy', type: 'act' }`. */
  variant: { group: string; type: string } | null;
  /** Allowed values in words: `integer ≥ 1`, `true|false`, `linear|cosine`. */
  type: string;
  /** The default as shown to users; null if the field is required. */
  default: string | null;
  description: string;
  schema: JsonSchema;
}

/**
 * Lists every field of a zod object schema in declaration order, groups before their fields, all choices of a
 * discriminated union one after the other.
 *
 * `.meta({ description, defaultText, typeText })` on a field overrides what is derived: `defaultText` for defaults that are
 * computed later, `typeText` for strings in a particular format.
 */
export function listFields(schema: z.ZodType): FieldSpec[] {
  const fields: FieldSpec[] = [];
  walk(z.toJSONSchema(schema, { io: 'output', reused: 'inline' }) as JsonSchema, '', null, fields);
  return fields;
}

function walk(given: JsonSchema, path: string, variant: FieldSpec['variant'], out: FieldSpec[]): void {
  const schema = orNull(given);
  const choices = objectChoices(schema);
  if (choices !== null) {
    if (path !== '') out.push(spec(schema, path, 'group', variant));
    out.push({ ...discriminator(choices, below(path, 'type'), variant), default: defaultText(schema) });
    for (const [type, choice] of choices) walkProperties(choice, path, { group: path, type }, out);
  } else if (schema.properties !== undefined) {
    if (path !== '') out.push(spec(schema, path, 'group', variant));
    walkProperties(schema, path, variant, out);
  } else {
    out.push(spec(schema, path, 'value', variant));
  }
}

/** Unwraps a field that is an object or null to the object, so that its fields are listed; returns any other schema unchanged. */
function orNull(schema: JsonSchema): JsonSchema {
  const [one, ...others] = ((schema.anyOf ?? []) as JsonSchema[]).filter(({ type }) => type !== 'null');
  if (one?.properties === undefined || others.length > 0 || one.properties.type !== undefined) return schema;
  const { anyOf: _, ...own } = schema;
  return { ...one, ...own, typeText: `${typeText(one)} or null` } as JsonSchema;
}

function walkProperties(
  schema: JsonSchema,
  path: string,
  variant: FieldSpec['variant'],
  out: FieldSpec[],
): void {
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    if (key === 'type' && variant?.group === path) continue;
    walk(child as JsonSchema, below(path, key), variant, out);
  }
}

function below(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** The members of a union of objects told apart by `type`, or null for any other schema. */
function objectChoices(schema: JsonSchema): [string, JsonSchema][] | null {
  const members = branches(schema).filter((member) => member.type !== 'null');
  const choices = members.map((member): [string, JsonSchema] => [
    String((member.properties?.type as JsonSchema | undefined)?.const),
    member,
  ]);
  return members.length > 0 && choices.every(([type]) => type !== 'undefined') ? choices : null;
}

function discriminator(
  choices: [string, JsonSchema][],
  path: string,
  variant: FieldSpec['variant'],
): Omit<FieldSpec, 'default'> {
  const names = choices.map(([type]) => type);
  const description = choices
    .map(([type, choice]) => `${type}: ${(choice.properties!.type as JsonSchema).description ?? ''}`)
    .join('; ');
  return {
    path,
    kind: 'value',
    variant,
    type: names.join('|'),
    description,
    schema: { type: 'string', enum: names },
  };
}

function spec(
  schema: JsonSchema,
  path: string,
  kind: FieldSpec['kind'],
  variant: FieldSpec['variant'],
): FieldSpec {
  return {
    path,
    kind,
    variant,
    type: typeText(schema),
    default: defaultText(schema),
    description: schema.description ?? '',
    schema,
  };
}

function defaultText(schema: JsonSchema): string | null {
  if (typeof schema.defaultText === 'string') return schema.defaultText;
  return schema.default === undefined ? null : JSON.stringify(schema.default);
}

/** The members of a union, nested unions flattened; just the schema itself if it is not a union. */
export function branches(schema: JsonSchema): JsonSchema[] {
  const members = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
  if (members !== undefined) return members.flatMap(branches);
  const { type } = schema as { type?: JsonSchema['type'] | JsonSchema['type'][] };
  return Array.isArray(type) ? type.map((one) => ({ ...schema, type: one })) : [schema];
}

/** Allowed values in words. */
export function typeText(schema: JsonSchema): string {
  if (typeof schema.typeText === 'string') return schema.typeText;
  const members = branches(schema);
  if (members.length > 1) return members.map(typeText).join(' or ');
  const one = members[0]!;
  if (one !== schema) return typeText(one);
  if (schema.enum !== undefined) return schema.enum.map(String).join('|');
  if (schema.const !== undefined) return String(schema.const);
  switch (schema.type) {
    case 'boolean':
      return 'true|false';
    case 'integer':
    case 'number':
      return `${schema.type}${rangeText(schema)}`;
    case 'string':
      return 'text';
    case 'null':
      return 'null';
    case 'array':
      return arrayText(schema);
    default:
      return schema.type === 'object' ? dictText(schema) : 'any';
  }
}

function arrayText(schema: JsonSchema): string {
  const tuple = schema.prefixItems as JsonSchema[] | undefined;
  if (tuple !== undefined) return `[${tuple.map(typeText).join(', ')}]`;
  return `[${typeText((schema.items ?? {}) as JsonSchema)}, ...]`;
}

function dictText(schema: JsonSchema): string {
  const values = schema.additionalProperties;
  if (typeof values !== 'object' || values === null) return '{...}';
  return `{${typeText((schema.propertyNames ?? { type: 'string' }) as JsonSchema)}: ${typeText(values as JsonSchema)}}`;
}

function rangeText(schema: JsonSchema): string {
  const low = schema.exclusiveMinimum ?? real(schema.minimum);
  const high = schema.exclusiveMaximum ?? real(schema.maximum);
  const openLow = schema.exclusiveMinimum !== undefined;
  const openHigh = schema.exclusiveMaximum !== undefined;
  if (low === undefined && high === undefined) return '';
  if (high === undefined) return ` ${openLow ? '>' : '≥'} ${low}`;
  if (low === undefined) return ` ${openHigh ? '<' : '≤'} ${high}`;
  return ` in ${openLow ? '(' : '['}${low}, ${high}${openHigh ? ')' : ']'}`;
}

/** Drops the safe-integer bounds that zod adds to every integer: they tell the reader nothing. */
function real(bound: number | undefined): number | undefined {
  return bound === undefined || Math.abs(bound) === Number.MAX_SAFE_INTEGER ? undefined : bound;
}
