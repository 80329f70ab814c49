import { nearest } from '@craft-ft/lerobot/configs';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';
import type { DatasetCommand } from './dataset/command.js';
import { doctor } from './dataset/doctor.js';
import { convert, deleteEpisodes, merge, split } from './dataset/edit.js';
import { info, show, stats } from './dataset/look.js';

const COMMANDS: Readonly<Record<string, DatasetCommand>> = {
  doctor,
  info,
  stats,
  show,
  convert,
  merge,
  split,
  'delete-episodes': deleteEpisodes,
};

/** `craft dataset`: checks, shows, converts and edits LeRobot datasets. Nothing changes a source but `doctor --fix` and `stats --recompute`. */
export async function datasetCommand([name, ...rest]: readonly string[], output: Output): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    (name === undefined ? output.err : output.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === null ? `one of ${Object.keys(COMMANDS).join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: dataset ${name}; ${hint}`);
  }
  return COMMANDS[name]!.run(rest, output);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(
    ([name, { about }]) => `  ${name.padEnd(width)}  ${about.split(/[.;:](?=\s|$)/)[0]}`,
  );
  return `Usage: craft dataset COMMAND FOLDER [flags]\n\n${lines.join('\n')}\n\ncraft dataset COMMAND --help\n`;
}
