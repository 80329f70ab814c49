import { getPath, type PlainObject } from '@craft-ft/datasets';
import type { FieldSpec, JsonSchema } from '@craft-ft/policies';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { applyFlags, coerceText, looseValue, splitFlags } from './flags.js';
import { trainFlags } from './train-config.js';

const table = trainFlags();

function parse(...argv: string[]): PlainObject {
  const tree: PlainObject = {};
  expect(applyFlags(tree, splitFlags(argv, table), table)).toEqual([]);
  return tree;
}

function problem(...argv: string[]): string[] {
  return applyFlags({}, splitFlags(argv, table), table).map(({ field, message }) => `${field}: ${message}`);
}

test('both spellings, bare booleans, negative numbers', () => {
  expect(parse('--steps=5', '--batch_size', '4', '--resume', '--craft.conflict_threshold', '-0.3')).toEqual({
    steps: 5,
    batch_size: 4,
    resume: true,
    craft: { conflict_threshold: -0.3 },
  });
  expect(parse('--save_checkpoint', 'False', '--policy.use_vae=True')).toEqual({
    save_checkpoint: false,
    policy: { use_vae: true },
  });
});

test('the last of several wins', () => {
  expect(parse('--steps=5', '--steps=6')).toEqual({ steps: 6 });
});

test('lists, dicts, null and numbers as LeRobot users write them', () => {
  expect(parse('--dataset.episodes=[28,29]', '--dataset.root=null', '--policy.tags=[a, b]')).toEqual({
    dataset: { episodes: [28, 29], root: null },
    policy: { tags: ['a', 'b'] },
  });
  expect(parse('--rename_map={"state": "observation.state"}', '--optimizer.betas=[0.9, 0.95]')).toEqual({
    rename_map: { state: 'observation.state' },
    optimizer: { betas: [0.9, 0.95] },
  });
  expect(
    parse("--rename_map={'a.b': 'c'}", '--policy.temporal_ensemble_coeff=None', '--steps=100_000'),
  ).toEqual({
    rename_map: { 'a.b': 'c' },
    policy: { temporal_ensemble_coeff: null },
    steps: 100_000,
  });
  expect(parse('--job_name=123', '--policy.optimizer_lr=1e-5', '--output_dir=true')).toEqual({
    job_name: '123',
    policy: { optimizer_lr: 1e-5 },
    output_dir: 'true',
  });
  expect(parse('--craft={"enabled": true}', '--craft.lambda_lr=0.1')).toEqual({
    craft: { enabled: true, lambda_lr: 0.1 },
  });
  expect(parse('--dataset.tolerance_s=0.01', '--wandb.enable=false', '--eval_freq=0')).toEqual({
    tolerance_s: 0.01,
    wandb: { enable: false },
    eval_freq: 0,
  });
});

test('unknown flags name the nearest, wrong values what is expected', () => {
  expect(problem('--polcy.type=act')).toEqual(['--polcy.type: no such flag; did you mean --policy.type?']);
  expect(problem('--batch-size=8')).toEqual(['--batch-size: no such flag; did you mean --batch_size?']);
  expect(problem('--confg_path=x')).toEqual(['--confg_path: no such flag; did you mean --config_path?']);
  expect(problem('--steps=ten', '--steps')).toEqual([
    '--steps: expected integer ≥ 1',
    '--steps: expected integer ≥ 1',
  ]);
  expect(problem('--dataset.episodes=28,29')).toEqual([
    '--dataset.episodes: expected [integer ≥ 0, ...] or null',
  ]);
  expect(problem('--craft.projection_mode=sum')).toEqual([
    '--craft.projection_mode: expected weighted|equal|task_priority',
  ]);
  expect(problem('--save_checkpoint=yes')).toEqual(['--save_checkpoint: expected true|false']);
  expect(() => splitFlags(['train', '--steps=1'], table)).toThrow('unexpected argument train');
  expect(() => splitFlags(['--save_checkpoint', 'maybe'], table)).toThrow('unexpected argument maybe');
});

test('flags of unknown type are read by their looks', () => {
  expect(['true', 'None', '1e3', '[1]', '{a: 1}', 'text', '[1'].map(looseValue)).toEqual([
    true,
    null,
    1000,
    [1],
    { a: 1 },
    'text',
    '[1',
  ]);
});

/** A value of the schema's type; ranges do not matter when flags are parsed. */
function arbitrary(schema: JsonSchema): fc.Arbitrary<unknown> {
  const members = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
  if (members !== undefined) return fc.oneof(...members.map(arbitrary));
  const types = [schema.type].flat() as string[];
  if (types.length > 1) return fc.oneof(...types.map((type) => arbitrary({ ...schema, type } as JsonSchema)));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.maxSafeInteger();
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
    case 'null':
      return fc.constant(null);
    case 'array':
      return schema.prefixItems === undefined
        ? fc.array(arbitrary(schema.items as JsonSchema))
        : fc.tuple(...(schema.prefixItems as JsonSchema[]).map(arbitrary));
    case 'object':
      return fc.dictionary(fc.string(), fc.string());
    default:
      // A nullable text cannot hold the words for null.
      return fc.string().filter((text) => !/^(null|none|~)$/i.test(text.trim()));
  }
}

const toText = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

test('every field reads back what is written', () => {
  const values = table.fields.filter(({ kind, path }) => kind === 'value' && path !== 'policy.type');
  const written = fc.constantFrom(...values).chain((field: FieldSpec) => {
    return arbitrary(field.schema).map((value) => ({ field, value }));
  });
  fc.assert(
    fc.property(written, fc.boolean(), ({ field, value }, joined) => {
      const text = toText(value);
      fc.pre(joined || !text.startsWith('--'));
      const argv = joined ? [`--${field.path}=${text}`] : [`--${field.path}`, text];
      expect(getPath(parse(...argv), field.path)).toEqual(value);
    }),
    { numRuns: 500 },
  );
});

test('no text makes the reader throw or return a value of another type', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const { schema } of table.fields) coerceText(text, schema);
      const count = coerceText(text, { type: 'integer' });
      expect(count === undefined || Number.isInteger(count)).toBe(true);
    }),
  );
});
