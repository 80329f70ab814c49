import { nearest } from '@craft-ft/lerobot/configs';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';

type Command = (argv: readonly string[], output: Output) => Promise<number>;

const COMMANDS: Readonly<Record<string, { about: string; load: () => Promise<Command> }>> = {
  record: {
    about: 'record scripted experts on the tabletop as a LeRobot dataset',
    load: async () => (await import('./world/record.js')).recordCommand,
  },
  view: {
    about: 'look at it in the browser: the expert, the rollouts of a policy, recorded episodes',
    load: async () => (await import('./world/view.js')).viewCommand,
  },
};

/** `craft world`: the simulated tabletop. */
export async function worldCommand([name, ...rest]: readonly string[], output: Output): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    (name === undefined ? output.err : output.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === null ? `one of ${Object.keys(COMMANDS).join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: world ${name}; ${hint}`);
  }
  return (await COMMANDS[name]!.load())(rest, output);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
  return `Usage: craft world COMMAND [flags]\n\n${lines.join('\n')}\n\ncraft world COMMAND --help\n`;
}
