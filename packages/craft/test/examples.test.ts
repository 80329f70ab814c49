import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as torch from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import * as craft from '../src/index.js';

// The examples of the documentation comments are run: after `expression; // value`, the expression must have that value.
const folder = fileURLToPath(new URL('../src', import.meta.url));
const exported = Object.entries(craft);

function examples(file: string): string[] {
  const text = readFileSync(join(folder, file), 'utf8');
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code.replace(/^\s*\* ?/gm, ''));
}

const checked = (code: string) =>
  code.replace(
    /^(.+?); \/\/ (.+)$/gm,
    (_line, expression, value) => `expect(${expression}).toEqual(close(${value}));`,
  );

const close = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(close);
  return typeof value === 'number' ? expect.closeTo(value, 6) : value;
};

describe('examples in the documentation', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('anchors'),
  );
  const all = files.flatMap((file) => examples(file).map((code, i) => ({ name: `${file} ${i + 1}`, code })));

  test.each(all)('$name', ({ code }) => {
    const body = checked(code);
    expect(body).toContain('expect(');
    const run = new Function('torch', 'expect', 'close', ...exported.map(([name]) => name), body);
    run(torch, expect, close, ...exported.map(([, value]) => value));
  });

  test('there are some', () => {
    expect(all.length).toBeGreaterThan(8);
  });
});
