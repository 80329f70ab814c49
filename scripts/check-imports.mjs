#!/usr/bin/env node
// Rejects imports that go upward between packages or that package.json does not declare, and import cycles of files or folders. Type-only
// imports count for folders but not for files; a file beside the folders counts as a folder. Usage: node scripts/check-imports.mjs [ROOT]
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';

/** From the bottom up: a package may only import packages listed before it. */
const ORDER = 'torch < datasets < policies < training < craft world < python-caches < cli'.split(' < ');

const packages = resolve(process.argv[2] ?? join(import.meta.dirname, '..'), 'packages');
const layer = (module) => ORDER.findIndex((row) => row.split(' ').includes(module.replace('@craft-ft/', '')));
const folder = (file) => file.split('/').slice(0, 2).join('/');
const [files, folders, problems] = [new Map(), new Map(), []];
const link = (graph, from, to) => from !== to && graph.set(from, (graph.get(from) ?? new Set()).add(to));

/** What a file imports, as `[specifier, whether it is types only]`. */
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
  const ring = (node) => [...reach(node)].filter((other) => reach(other).has(node)).sort();
  return new Set([...graph.keys()].map((node) => ring(node).join(' ⇄ ')).filter((names) => names !== ''));
}

function check(name, file, code, declared) {
  for (const [specifier, onlyTypes] of importsOf(code)) {
    const module = /^(@[^/]+\/)?[^/]+/.exec(specifier)[0];
    const target = join(dirname(file), specifier).replace(/\.js$/, '.ts');
    if (specifier.startsWith('.')) {
      if (!target.startsWith(`${name}/`)) problems.push(`${file}: ${specifier} leaves the package`);
      if (!onlyTypes) link(files, file, target);
      const [from, to] = [folder(file), folder(target)];
      if (!onlyTypes || !/\.ts/.test(from + to)) link(folders, from, to);
    } else if (!isBuiltin(module) && !declared[module]) problems.push(`${file}: ${module} is undeclared`);
    if (/^@craft-ft/.test(module) && !(layer(module) < layer(name)))
      problems.push(`${file}: ${module} is no lower package`);
  }
}

for (const name of readdirSync(packages).filter((name) => existsSync(join(packages, name, 'src')))) {
  const { dependencies } = JSON.parse(readFileSync(join(packages, name, 'package.json'), 'utf8'));
  for (const path of readdirSync(join(packages, name, 'src'), { recursive: true }))
    if (/(?<!\.test)\.ts$/.test(path))
      check(name, `${name}/${path}`, readFileSync(join(packages, name, 'src', path), 'utf8'), dependencies);
}
for (const names of new Set([...rings(files), ...rings(folders)])) problems.push(`ring: ${names}`);
for (const line of problems) console.error(line);
process.exitCode = problems.length > 0 ? 1 : 0;
