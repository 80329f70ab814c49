#!/usr/bin/env node
// Packs every package, installs the tarballs into an empty folder, and runs the installed command, as a user of npm would. The addon is
// compiled there, against the libtorch that set-up has found. Usage: node scripts/test-pack.mjs [--keep]
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDir, readJson } from '../packages/torch/setup/paths.mjs';
import { run, say, step } from '../packages/torch/setup/ui.mjs';
import { root } from './lib/typescript.mjs';

const libtorch = readJson(join(buildDir(), 'libtorch.json'));
if (libtorch === null) throw new Error('run npm run setup first');
const folder = mkdtempSync(join(tmpdir(), 'craft-pack-'));
// Neither the repository's packages nor its addon may be found from there; node-av's install script would download a program that nothing
// uses.
const { NODE_PATH: _, CRAFT_TORCH_ADDON: __, ...env } = process.env;
const options = { cwd: folder, env: { ...env, LIBTORCH: libtorch.root, SKIP_FFMPEG: 'true' } };
/** @param {...string} args */
const craft = (...args) => run('npx', ['--no-install', 'craft', ...args], options);

/** @param {boolean} condition @param {string} what */
function check(condition, what) {
  if (!condition) throw new Error(`${what} (in ${folder})`);
}

try {
  await step('Packing', () =>
    run('npm', ['pack', '--workspaces', '--pack-destination', folder], { cwd: root, env }),
  );
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  const names = readdirSync(join(root, 'packages')).filter((name) =>
    existsSync(join(root, 'packages', name, 'src')),
  );
  check(tarballs.length === names.length, `only ${tarballs} were packed`);
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--foreground-scripts'];
  await step('Installing the tarballs', () =>
    run('npm', [...install, ...tarballs.map((name) => `./${name}`)], options),
  );

  const { version } = readJson(join(root, 'packages/cli/package.json'));
  const shown = await craft('--version');
  check(shown.includes(version), `craft --version prints ${shown}`);
  const info = await craft('info');
  check(
    info.includes(libtorch.version),
    `craft info knows nothing of libtorch ${libtorch.version}:\n${info}`,
  );
  check(/kernels/.test(info) && !/composed of/.test(info), `the kernels are not used:\n${info}`);

  await step('Recording a dataset and training on it', async () => {
    await craft('world', 'record', '--task=press-button', '--episodes=1', '--repo_id=me/tiny', '--root=data');
    const model = ['--policy.type=act', '--policy.device=cpu', '--policy.dim_model=32', '--policy.n_heads=2'];
    const data = ['--dataset.repo_id=me/tiny', '--dataset.root=data', '--batch_size=2'];
    await craft('train', ...model, ...data, '--steps=2', '--output_dir=run');
  });
  const state = readdirSync(join(folder, 'run/checkpoints/last/pretrained_model'));
  check(state.includes('model.safetensors'), `the checkpoint has only ${state}`);
  say('The packed packages work.');
} finally {
  if (!process.argv.includes('--keep')) rmSync(folder, { recursive: true, force: true });
}
