// Compares a TypeScript program with a Python one on the same libtorch.
import { join } from 'node:path';
import { root } from './machine.mjs';
import { summary } from './sides.mjs';
import { table } from './table.mjs';

/**
 * The two sides; only the first, with a message, if there is no Python with the same torch.
 * @param {ReturnType<typeof import('./machine.mjs').findPython>} python
 * @param {{ name: string, args?: string[] }} typescript script under benchmarks/node, without its extension
 * @param {{ name: string, args?: string[] }} other script under benchmarks/python, without its extension
 * @returns {import('./sides.mjs').Side[]}
 */
export function bothSides(python, typescript, other, env) {
  const args = (language, ending, { name, args: more = [] }) => [
    join(root, 'benchmarks', language, `${name}.${ending}`),
    ...more,
  ];
  const own = { name: 'typescript', command: process.execPath, args: args('node', 'mjs', typescript), env };
  if (python === null) {
    process.stderr.write('no Python with the same torch: own figures only\n');
    return [own];
  }
  const both = { ...env, ...python.env };
  return [own, { name: 'python', command: python.command, args: args('python', 'py', other), env: both }];
}

/** One figure over both sides' rounds, and the ratio of the medians; null without a Python. */
export function compareFigure({ typescript, python }, figure) {
  const own = summary(typescript.map((result) => result[figure]));
  const other = python === undefined ? null : summary(python.map((result) => result[figure]));
  return { typescript: own, python: other, ratio: other === null ? null : own.median / other.median };
}

/** A table of such figures. @param {string} corner heading above their names */
export function figuresTable({ figures, versions: v }, corner = '') {
  const number = (value) => (value === undefined || value === null ? '-' : value.toFixed(2));
  const rows = Object.entries(figures).map(([name, { typescript, python, ratio }]) => [
    name,
    ...[typescript.min, typescript.median, python?.min, python?.median, ratio].map(number),
  ]);
  const head = [corner, 'TS min', 'TS median', 'Python min', 'Python median', 'ratio of medians'];
  return `${table([head, ...rows])}\n\nlibtorch ${v.libtorch}, Node ${v.node}, Python's torch ${v.python_torch ?? 'absent'}, ${v.processor}`;
}
