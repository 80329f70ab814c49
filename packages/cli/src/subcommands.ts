import { nearest } from '@craft-ft/policies/config';
import type { Command, Output } from './main.js';
import { UsageError } from './usage.js';

/** A command of a group: `craft <group> <name>`. */
export interface Subcommand {
  /** For the overview: up to the first full stop, semicolon or colon. */
  readonly about: string;
  readonly run: Command;
}

/**
 * A command that has commands of its own. Without any it shows what there is.
 *
 * @param group as it is called: `dataset`
 * @param operands what stands between a command and its flags, for the overview
 */
export function subcommands(
  group: string,
  commands: Readonly<Record<string, Subcommand>>,
  operands = '',
): Command {
  const names = Object.keys(commands);
  return async ([name, ...rest], output: Output) => {
    if (name === undefined || name === '--help' || name === '-h') {
      const usage = `Usage: craft ${group} COMMAND ${operands}[flags]`;
      const overview = `${usage}\n\n${table(commands)}\n\ncraft ${group} COMMAND --help\n`;
      (name === undefined ? output.err : output.out)(overview);
      return name === undefined ? 2 : 0;
    }
    if (Object.hasOwn(commands, name)) return commands[name]!.run(rest, output);
    const near = nearest(name, names);
    const hint = near === null ? `one of ${names.join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: ${group} ${name}; ${hint}`);
  };
}

function table(commands: Readonly<Record<string, Subcommand>>): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(
    ([name, { about }]) => `  ${name.padEnd(width)}  ${about.split(/[.;:](?=\s|$)/)[0]}`,
  );
  return lines.join('\n');
}
