import { nearest } from '@craft-ft/lerobot/configs';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';
import { tokenizerInfo } from './tokenizer/info.js';
import { tokenizerTrain } from './tokenizer/train.js';

interface TokenizerCommand {
  readonly about: string;
  run(argv: readonly string[], output: Output): Promise<number>;
}

const COMMANDS: Readonly<Record<string, TokenizerCommand>> = { train: tokenizerTrain, info: tokenizerInfo };

/** `craft tokenizer`: trains FAST action tokenisers on datasets, and shows what is in one. */
export async function tokenizerCommand([name, ...rest]: readonly string[], output: Output): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    (name === undefined ? output.err : output.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === null ? `one of ${Object.keys(COMMANDS).join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: tokenizer ${name}; ${hint}`);
  }
  return COMMANDS[name]!.run(rest, output);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
  return `Usage: craft tokenizer COMMAND [flags]\n\n${lines.join('\n')}\n\ncraft tokenizer COMMAND --help\n`;
}
