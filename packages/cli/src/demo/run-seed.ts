import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTick } from 'node:timers/promises';
import { CraftError } from '@craft-ft/torch/errors';
import type { Evaluation } from '@craft-ft/world';
import type { Command, Output } from '../command.js';
import { evalCommand } from '../commands/eval.js';
import { tokenizerTrain } from '../commands/tokenizer.js';
import { recordCommand } from '../commands/world.js';
import { INTERRUPTED, listenForInterrupt } from '../interrupt.js';
import { loadTrainConfig } from '../load-config.js';
import { runTrain } from '../run-train.js';
import { baseMethod, fineTuning, type Method, type Places } from './methods.js';
import { type PolicyResult, policyResult, type SeedResult } from './outcomes.js';
import { pageIn, writeSeedPage } from './page.js';
import { removeUnlessFitted, removeUnlessRecorded, removeUnlessSaved } from './progress.js';
import { colorOf, type DemoSettings, recordedSeed, TASKS, testedSeed } from './settings.js';

/** A command that did not finish; its exit code becomes the demo's. */
export class Interrupted extends CraftError {
  constructor(readonly exitCode: number) {
    super('INTERRUPTED', 'the demo was interrupted');
  }
}

/**
 * Runs the whole demo once: records, trains, fine-tunes with three methods, evaluates. Each part is a `craft` command, printed before it
 * runs. Commands that an earlier run in the same folder finished are skipped, and interrupted training is resumed.
 *
 * @param folder receives everything
 */
export async function runSeed(
  settings: DemoSettings,
  seed: number,
  folder: string,
  output: Output,
): Promise<SeedResult> {
  const step = steps(output);
  const places: Places = {
    data: join(folder, 'data'),
    base: join(folder, 'red'),
    tokenizer: join(folder, 'tokenizer'),
    seed,
  };
  for (const task of TASKS) {
    const color = colorOf(task);
    const root = join(places.data, color);
    const episodes = settings.episodes[color];
    await step({
      title: `Recording a scripted expert: the cube into the ${color} bin.`,
      name: 'world record',
      command: recordCommand,
      argv: [
        `--task=${task}`,
        `--episodes=${episodes}`,
        `--repo_id=${settings.name}/${color}`,
        `--root=${root}`,
        `--seed=${recordedSeed(seed, task)}`,
        // So noisy that the arm misses the cube now and then: a policy has to see how to recover.
        '--noise=1.5',
        ...settings.recording,
      ],
      done: removeUnlessRecorded(root, episodes),
    });
  }
  if (settings.tokenizer !== undefined) {
    await step({
      title: 'Training a tokeniser on the actions of red.',
      name: 'tokenizer train',
      command: tokenizerTrain.run,
      argv: [
        `--repo_id=${settings.name}/red`,
        `--root=${join(places.data, 'red')}`,
        ...settings.tokenizer,
        `--output_dir=${places.tokenizer}`,
      ],
      done: removeUnlessFitted(places.tokenizer),
    });
  }
  const base = baseMethod(settings, places);
  const tuned = fineTuning(settings, places);
  const methods = [base, ...tuned];
  const runOf = (method: Method) => join(folder, method.folder);
  for (const method of methods) {
    const run = runOf(method);
    const steps = removeUnlessSaved(run);
    await step({
      title: method.title,
      name: 'train',
      command: (argv, out) => runTrain(loadTrainConfig(argv), out),
      argv: steps === null ? [...method.flags, `--output_dir=${run}`] : ['--resume', run],
      done: steps === method.steps,
    });
  }
  const policies: PolicyResult[] = [];
  for (const method of methods) {
    const results = join(runOf(method), 'eval');
    await step({
      title: `Testing the policy that was ${method.name}, on starts it has not seen.`,
      name: 'eval',
      command: evalCommand,
      argv: [
        `--policy.path=${runOf(method)}`,
        '--env.type=tabletop',
        `--env.task=${TASKS.join(',')}`,
        `--eval.n_episodes=${settings.rollouts}`,
        '--eval.n_videos=1',
        `--eval.video_size=[${settings.videoSize}]`,
        `--seed=${testedSeed(seed)}`,
        `--output_dir=${results}`,
      ],
      done: existsSync(join(results, 'eval_info.json')),
    });
    const evaluation = JSON.parse(readFileSync(join(results, 'eval_info.json'), 'utf8')) as Evaluation;
    policies.push(policyResult(method.name, evaluation));
  }
  const result = { seed, policies };
  writeSeedPage(result, runOf(base), tuned.map(runOf), pageIn(folder));
  return result;
}

/** A part of the demo: one command. */
interface Part {
  title: string;
  /** What the user would type after `craft`. */
  name: string;
  command: Command;
  argv: readonly string[];
  /** Whether an earlier run got this far. */
  done: boolean;
}

/** Runs numbered commands and prints each as the user would type it. */
function steps(output: Output) {
  let number = 0;
  return async ({ title, name, command, argv, done }: Part): Promise<void> => {
    output.out(`\n${++number}. ${title}${done ? ' Done already.' : ''}\n`);
    if (done) return;
    output.out(`\n   craft ${name} ${argv.map(quoted).join(' ')}\n\n`);
    const code = await toItsEnd(command)(argv, output);
    if (code !== 0) throw new Interrupted(code);
  };
}

/** Lets Ctrl-C stop the demo even if the command does not listen for it, or had nothing left to do when it came. */
function toItsEnd(command: Command): Command {
  return async (argv, output) => {
    const interrupt = listenForInterrupt();
    try {
      const code = await command(argv, output);
      // A signal that arrives during computation is delivered only in the next iteration of the event loop.
      for (let round = 0; round < 2; round++) await nextTick();
      return interrupt.signal.aborted ? INTERRUPTED : code;
    } finally {
      interrupt.stop();
    }
  };
}

const quoted = (word: string): string =>
  /^[\w./,:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
