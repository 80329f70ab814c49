import { ConfigError, nearest } from '@craft-ft/policies/config';
import { CraftError, configureRuntime } from '@craft-ft/torch';
import { type Command, type Output, packageVersion, UsageError } from './command.js';

/** Each command's one-line description and its module, loaded only when the command is run. */
const COMMANDS: Readonly<Record<string, { about: string; load: () => Promise<Command> }>> = {
  train: {
    about: 'train or fine-tune a policy, with or without CRaFT (craft train --help lists every flag)',
    load: async () => (await import('./commands/train.js')).trainCommand,
  },
  'eval-loss': {
    about: "a policy's loss on every frame of a dataset: how much was forgotten, without a robot",
    load: async () => (await import('./commands/eval-loss.js')).evalLossCommand,
  },
  'eval-mcq': {
    about: 'multiple-choice questions about images: what the language model behind a policy still knows',
    load: async () => (await import('./commands/eval-mcq.js')).evalMcqCommand,
  },
  report: {
    about: 'one page about a training run, or several compared: curves, numbers, configuration',
    load: async () => (await import('./commands/report.js')).reportCommand,
  },
  eval: {
    about: "a policy's success rate at simulated tasks, with videos",
    load: async () => (await import('./commands/eval.js')).evalCommand,
  },
  world: {
    about:
      'a simulated tabletop: record scripted experts as a dataset (craft world --help lists the commands)',
    load: async () => (await import('./commands/world.js')).worldCommand,
  },
  dataset: {
    about: 'check, show, convert, merge, split and mend datasets (craft dataset --help lists the commands)',
    load: async () => (await import('./commands/dataset.js')).datasetCommand,
  },
  export: {
    about: 'write a policy as one folder for LeRobot, LoRA adapters merged into the weights',
    load: async () => (await import('./commands/export.js')).exportCommand,
  },
  tokenizer: {
    about: 'train a FAST action tokenizer on a dataset, or show what is in one',
    load: async () => (await import('./commands/tokenizer.js')).tokenizerCommand,
  },
  anchors: {
    about: 'build, show and import anchor caches: what a policy must not forget (craft anchors --help)',
    load: async () => (await import('./commands/anchors.js')).anchorsCommand,
  },
  push: {
    about: 'upload a dataset, a policy or a tokenizer to the Hugging Face Hub',
    load: async () => (await import('./commands/push.js')).pushCommand,
  },
  quickstart: {
    about: 'forgetting and what helps against it, shown in a simulated world in some minutes',
    load: async () => (await import('./demo/command.js')).quickstartCommand,
  },
  demo: {
    about: 'the same with policies that see pictures: ACT with cameras, or a small π0-FAST (up to an hour)',
    load: async () => (await import('./demo/command.js')).demoCommand,
  },
  info: {
    about: 'versions, libtorch and hardware',
    load: async () => (await import('./commands/info.js')).infoCommand,
  },
};

/**
 * The `craft` command.
 *
 * Exit codes: 0 done, 1 failed, 2 the command line or configuration is wrong, 130 interrupted. An expected error is one line on standard
 * error; any other is a bug and is rethrown with its stack.
 *
 * @param argv words after `craft`.
 */
export async function main(argv: readonly string[], output: Output = standardOutput()): Promise<number> {
  configureRuntime();
  try {
    return await dispatch(argv, output);
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    output.err(`craft: error: ${error.message}\n`);
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  }
}

async function dispatch([name, ...rest]: readonly string[], output: Output): Promise<number> {
  if (name === '--version' || name === '-V') {
    output.out(`${packageVersion()}\n`);
    return 0;
  }
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    if (name === 'help' && rest.length > 0) return dispatch([rest[0]!, '--help'], output);
    (name === undefined ? output.err : output.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === null ? `one of ${Object.keys(COMMANDS).join(', ')}` : `did you mean ${near}?`;
    throw new UsageError(`no such command: ${name}; ${hint}`);
  }
  const { about, load } = COMMANDS[name]!;
  const wantsHelp = rest.includes('--help') || rest.includes('-h');
  if (wantsHelp && name === 'info') {
    output.out(`Usage: craft ${name}\n\n${about}\n`);
    return 0;
  }
  const command = await load();
  return command(rest, output);
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
  return `Usage: craft COMMAND [flags]\n\n${lines.join('\n')}\n\ncraft help COMMAND, craft --version\n`;
}

function standardOutput(): Output {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    columns: Math.min(100, Math.max(60, process.stdout.columns ?? 80)),
  };
}
