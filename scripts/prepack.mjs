#!/usr/bin/env node
// Runs in a package's folder before npm packs it: builds everything, removes output of deleted sources, adds the licence.
import { copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildTypeScript, root } from './lib/typescript.mjs';

await buildTypeScript();
for (const name of readdirSync('dist', { recursive: true, encoding: 'utf8' })) {
  const stem = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(name)?.[1];
  if (stem !== undefined && !existsSync(join('src', `${stem}.ts`))) rmSync(join('dist', name));
}
copyFileSync(join(root, 'LICENSE'), 'LICENSE');
