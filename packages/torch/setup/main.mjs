#!/usr/bin/env node
// Compiles the addon and the kernels into this package; `npm install` runs it, and `npx craft-setup` runs it again. In a clone of the
// repository installing compiles nothing: there `npm run setup` does.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLibtorch } from './find.mjs';
import { inspect } from './libtorch.mjs';
import { buildNative } from './native.mjs';
import { buildDir, readJson, repository } from './paths.mjs';
import { checkPlatform, ensureCompiler } from './system.mjs';
import { SetupError, say } from './ui.mjs';

const usage = `Usage: craft-setup [--libtorch=debian|python|FOLDER] [--build-dir=NAME] [--again]

  --libtorch   look only there: Debian's libtorch-dev, a Python's torch (or one from pip), or a folder
  --build-dir  build into build-NAME of this package; CRAFT_TORCH_ADDON=.../torch.node loads it
  --again      look for libtorch again, even if the one of the last time is still there`;

async function main() {
  const { values } = parseArgs({
    options: {
      libtorch: { type: 'string' },
      'build-dir': { type: 'string' },
      again: { type: 'boolean' },
      help: { type: 'boolean' },
      postinstall: { type: 'boolean' },
    },
  });
  if (values.help) return say(usage);
  if (values.postinstall && repository) return;
  checkPlatform();
  const out = buildDir(values['build-dir']);
  const last =
    values.again || values.libtorch || process.env.LIBTORCH ? null : readJson(join(out, 'libtorch.json'));
  const libtorch =
    (last && inspect(last.root, last.source, last.why)) || (await findLibtorch(values.libtorch));
  say(
    `libtorch ${libtorch.version}${libtorch.cuda ? ' with CUDA' : ''} in ${libtorch.libDir}: ${libtorch.why}.`,
  );
  const warnings = await buildNative({ libtorch, compiler: await ensureCompiler(), out });
  if (warnings === null) return say('The addon is up to date.');
  process.stderr.write(warnings);
}

await main().catch((error) => {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
});
