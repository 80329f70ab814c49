import { expect, test } from 'vitest';
import { z } from 'zod';
import { trainConfigSchema } from '../../../training/src/config/train.js';
import { listFields, typeText } from './fields.js';

const schema = z.strictObject({
  count: z.int().min(1).default(3).describe('How many.'),
  share: z.number().gt(0).lte(1).nullable().default(null),
  names: z.array(z.string()).default([]),
  body: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('a').describe('first'), x: z.int().default(0) }),
    z.strictObject({ type: z.literal('b').describe('second'), y: z.boolean() }),
  ]),
  inner: z.strictObject({ z: z.enum(['p', 'q']).default('p') }).prefault({}),
});

test('fields are listed in order with types, defaults and choices', () => {
  const rows = listFields(schema).map(({ path, kind, variant, type, default: value }) => [
    path,
    kind,
    variant?.type ?? null,
    type,
    value,
  ]);
  expect(rows.filter(([, kind]) => kind === 'value')).toEqual([
    ['count', 'value', null, 'integer ≥ 1', '3'],
    ['share', 'value', null, 'number in (0, 1] or null', 'null'],
    ['names', 'value', null, '[text, ...]', '[]'],
    ['body.type', 'value', null, 'a|b', null],
    ['body.x', 'value', 'a', 'integer', '0'],
    ['body.y', 'value', 'b', 'true|false', null],
    ['inner.z', 'value', null, 'p|q', '"p"'],
  ]);
  expect(rows.filter(([, kind]) => kind === 'group').map(([path]) => path)).toEqual(['body', 'inner']);
  expect(typeText({ type: 'object', additionalProperties: { type: 'number' } })).toBe('{text: number}');
});

test('every training field is documented', () => {
  const bare = listFields(trainConfigSchema).filter(
    ({ kind, description }) => kind === 'value' && !description,
  );
  expect(bare).toEqual([]);
});
