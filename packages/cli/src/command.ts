import { readFileSync } from 'node:fs';
import { nearest } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';

/** Where a command writes, and the width of its output. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
  columns: number;
}

/** Runs a command with the words that follow its name; resolves to the exit code. */
export type Command = (argv: readonly string[], output: Output) => Promise<number>;

/** The command line itself is wrong; the process exits with code 2. */
export class UsageError extends CraftError {
  constructor(message: string) {
    super('USAGE', message);
    this.name = 'UsageError';
  }
}

/** Version of the command, from its package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}

/** A command of a group: `craft <group> <name>`. */
export interface Subcommand {
  /** Shown in the overview up to the first full stop, semicolon or colon. */
  readonly about: string;
  readonly run: Command;
}

/**
 * A command with subcommands. Without one, it lists them.
 *
 * @param group as typed: `dataset`
 * @param operands shown between a command and its flags in the overview
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
