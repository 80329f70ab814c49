#!/usr/bin/env node
// Compiles the addon and the kernels. Usage: node scripts/build-native.mjs [--libtorch=debian|python|FOLDER] [--build-dir=NAME]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLibtorch } from './lib/find.mjs';
import { inspect } from './lib/libtorch.mjs';
import { buildNative } from './lib/native.mjs';
import { buildDir, readJson } from './lib/paths.mjs';
import { ensureCompiler } from './lib/system.mjs';
import { SetupError, say } from './lib/ui.mjs';

const { values } = parseArgs({ options: { libtorch: { type: 'string' }, 'build-dir': { type: 'string' } } });
const out = buildDir(values['build-dir']);

async function main() {
  const last = readJson(join(out, 'libtorch.json'));
  // The libtorch of the last build, if it is still there: looking for one is set-up's work.
  const same = !values.libtorch && last && inspect(last.root, last.source, last.why);
  const libtorch = same || (await findLibtorch(values.libtorch));
  const warnings = await buildNative({ libtorch, compiler: await ensureCompiler(), out });
  if (warnings === null) return say('The addon is up to date.');
  process.stderr.write(warnings);
}

await main().catch((error) => {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
});
