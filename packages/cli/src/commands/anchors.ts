import { nearest } from '@craft-ft/lerobot/configs';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';
import { anchorsBuild } from './anchors/build.js';
import type { AnchorsCommand } from './anchors/command.js';
import { anchorsImport } from './anchors/import.js';
import { anchorsInfo } from './anchors/info.js';

const COMMANDS: Readonly<Record<string, AnchorsCommand>> = {
  build: anchorsBuild,
  info: anchorsInfo,
  import: anchorsImport,
};

/** `craft anchors`: builds, shows and imports anchor caches. */
export async function anchorsCommand([name, ...rest]: readonly string[], output: Output): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    (name === undefined ? output.err : output.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === null ? `one of ${Object.keys(COMMANDS).join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: anchors ${name}; ${hint}`);
  }
  return COMMANDS[name]!.run(rest, output);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(
    ([name, { about }]) => `  ${name.padEnd(width)}  ${about.split(/[.;:](?=\s|$)/)[0]}`,
  );
  return `Usage: craft anchors COMMAND [flags]\n\n${lines.join('\n')}\n\ncraft anchors COMMAND --help\n`;
}
