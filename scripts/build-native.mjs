#!/usr/bin/env node
// Compiles the addon. Usage: node scripts/build-native.mjs [--libtorch=debian|python|FOLDER] [--build-dir=NAME]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLibtorch } from './lib/find.mjs';
import { inspect } from './lib/libtorch.mjs';
import { planNative } from './lib/native.mjs';
import { buildDir, readJson } from './lib/paths.mjs';
import { ensureCompiler } from './lib/system.mjs';
import { SetupError, say, step } from './lib/ui.mjs';

const { values } = parseArgs({ options: { libtorch: { type: 'string' }, 'build-dir': { type: 'string' } } });
const out = buildDir(values['build-dir']);

async function main() {
  const last = readJson(join(out, 'libtorch.json'));
  // The libtorch of the last build, if it is still there: looking for one is set-up's work.
  const same = !values.libtorch && last && inspect(last.root, last.source, last.why);
  const libtorch = same || (await findLibtorch(values.libtorch));
  const plan = planNative({ libtorch, compiler: await ensureCompiler(), out });
  if (plan.upToDate) return say('The addon is up to date.');
  const title = `Compiling ${plan.stale.length} of ${plan.units.length} C++ files`;
  const warnings = await step(title, () => plan.compile());
  process.stderr.write(warnings);
}

await main().catch((error) => {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
});
