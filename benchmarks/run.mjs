#!/usr/bin/env node
// npm run bench                 lists the benchmarks
// npm run bench -- NAME         runs one and prints a table
// npm run bench -- NAME --json  prints one JSON object: every figure and ratio, commands, versions
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

const folder = new URL('.', import.meta.url);
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.mjs') && file !== 'run.mjs')
  .map((file) => file.slice(0, -'.mjs'.length))
  .sort();

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'boolean' } },
    allowPositionals: true,
  });
  const [name] = positionals;
  if (name === undefined) {
    for (const each of names) console.log(`${each}: ${(await import(new URL(`${each}.mjs`, folder))).title}`);
    return;
  }
  if (!names.includes(name)) return fail(`there is no benchmark '${name}'; there are: ${names.join(', ')}`);
  const benchmark = await import(new URL(`${name}.mjs`, folder));
  const result = { benchmark: name, title: benchmark.title, ...(await benchmark.run()) };
  console.log(values.json ? JSON.stringify(result) : `${benchmark.title}\n\n${benchmark.human(result)}`);
  for (const miss of result.misses ?? []) fail(`MISSED: ${miss}`);
}

await main().catch((error) => fail(error.message));
