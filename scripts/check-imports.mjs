#!/usr/bin/env node
// Refuses imports that go upward between packages or that package.json does not declare, and rings of files or of folders. Types alone
// make a ring of folders, but none of files; a file beside the folders counts as one. Usage: node scripts/check-imports.mjs [ROOT]
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';

/** From the bottom up: a package imports those of earlier rows only. */
const LAYERS = [
  ['torch'],
  ['datasets'],
  ['policies'],
  ['training'],
  ['craft', 'world'],
  ['python-caches'],
  ['cli'],
];
/** A file of each ring that is still to be opened. This list only shrinks. */
const KNOWN = ['torch/tensor.ts'];

const packages = resolve(process.argv[2] ?? join(import.meta.dirname, '..'), 'packages');
const layer = (module) => LAYERS.findIndex((row) => row.includes(module.replace('@craft-ft/', '')));
const room = (file) => file.split('/').slice(0, 2).join('/');
const [files, folders, problems] = [new Map(), new Map(), []];
const link = (graph, from, to) => from !== to && graph.set(from, (graph.get(from) ?? new Set()).add(to));

/** What a file imports, as `[specifier, whether it is only types]`. */
const importsOf = (code) =>
  ts.preProcessFile(code).importedFiles.map(({ fileName, pos }) => {
    const start = Math.max(code.lastIndexOf('import ', pos), code.lastIndexOf('export ', pos));
    return [fileName, /^\w+ (type |\{(\s*type [^,}]+,?)+\s*\})/.test(code.slice(start, pos))];
  });

/** Groups of nodes that reach one another. */
function rings(graph) {
  const reach = (from, seen = new Set()) => {
    for (const to of graph.get(from) ?? []) if (!seen.has(to)) reach(to, seen.add(to));
    return seen;
  };
  const all = new Map([...graph.keys()].map((node) => [node, reach(node)]));
  const ring = (node) => [...all.get(node)].filter((other) => all.get(other)?.has(node)).sort();
  return [...all.keys()].map((node) => ring(node).join(' ⇄ ')).filter((names) => names !== '');
}

for (const name of readdirSync(packages)) {
  const { dependencies } = JSON.parse(readFileSync(join(packages, name, 'package.json'), 'utf8'));
  for (const entry of readdirSync(join(packages, name, 'src'), { recursive: true })) {
    if (!/(?<!\.test)\.ts$/.test(entry)) continue;
    const [file, code] = [`${name}/${entry}`, readFileSync(join(packages, name, 'src', entry), 'utf8')];
    for (const [specifier, onlyTypes] of importsOf(code)) {
      if (specifier.startsWith('.')) {
        const target = join(dirname(file), specifier).replace(/\.js$/, '.ts');
        if (!target.startsWith(`${name}/`)) problems.push(`${file}: ${specifier} leaves the package`);
        if (!onlyTypes) link(files, file, target);
        if (!onlyTypes || !/\.ts/.test(room(file) + room(target))) link(folders, room(file), room(target));
      } else if (!isBuiltin(specifier)) {
        const module = /^(@[^/]+\/)?[^/]+/.exec(specifier)[0];
        if (!dependencies[module]) problems.push(`${file}: ${module} is undeclared`);
        if (/^@craft-ft/.test(module) && !(layer(module) < layer(name)))
          problems.push(`${file}: ${module} is not below`);
      }
    }
  }
}
for (const names of new Set([...rings(files), ...rings(folders)]))
  if (!KNOWN.some((part) => names.split(' ⇄ ').includes(part))) problems.push(`ring: ${names}`);
process.stderr.write(problems.map((line) => `${line}\n`).join(''));
process.exitCode = problems.length > 0 ? 1 : 0;
