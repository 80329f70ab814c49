import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import type { Evaluation } from '@craft-ft/world';
import { evalCommand } from '../commands/eval.js';
import { tokenizerTrain } from '../commands/tokenizer/train.js';
import { recordCommand } from '../commands/world/record.js';
import { loadTrainConfig } from '../load-config.js';
import type { Output } from '../main.js';
import { runTrain } from '../run-train.js';
import { baseMethod, fineTuning, type Method, type Places } from './methods.js';
import { type PolicyResult, policyResult, type SeedResult } from './outcomes.js';
import { pageIn, writeSeedPage } from './page.js';
import { colorOf, type DemoSettings, recordedSeed, TASKS, testedSeed } from './settings.js';

/** A command that did not finish; its exit code is the demo's. */
export class Interrupted extends CraftError {
  constructor(readonly exitCode: number) {
    super('INTERRUPTED', 'the demo was interrupted');
  }
}

/**
 * The whole story once: records, trains, fine-tunes in three ways, tests. Each part is a `craft` command that is printed before it runs.
 *
 * @param folder everything goes into it
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
    await step(
      `Recording a scripted expert: the cube into the ${color} bin.`,
      'world record',
      recordCommand,
      [
        `--task=${task}`,
        `--episodes=${settings.episodes}`,
        `--repo_id=${settings.name}/${color}`,
        `--root=${join(places.data, color)}`,
        `--seed=${recordedSeed(seed, task)}`,
        // So unsteady that it misses the cube now and then: a policy has to see what to do about that.
        '--noise=1.5',
        ...settings.recording,
      ],
    );
  }
  if (settings.tokenizer !== undefined) {
    await step('Training a tokeniser on the actions of red.', 'tokenizer train', tokenizerTrain.run, [
      `--repo_id=${settings.name}/red`,
      `--root=${join(places.data, 'red')}`,
      ...settings.tokenizer,
      `--output_dir=${places.tokenizer}`,
    ]);
  }
  const base = baseMethod(settings, places);
  const tuned = fineTuning(settings, places);
  const methods = [base, ...tuned];
  const runOf = (method: Method) => join(folder, method.folder);
  for (const method of methods) {
    const train = (argv: readonly string[], out: Output) => runTrain(loadTrainConfig(argv), out);
    await step(method.title, 'train', train, [...method.flags, `--output_dir=${runOf(method)}`]);
  }
  const policies: PolicyResult[] = [];
  for (const method of methods) {
    const results = join(runOf(method), 'eval');
    await step(
      `Testing the policy that was ${method.name}, on starts it has not seen.`,
      'eval',
      evalCommand,
      [
        `--policy.path=${runOf(method)}`,
        '--env.type=tabletop',
        `--env.task=${TASKS.join(',')}`,
        `--eval.n_episodes=${settings.rollouts}`,
        '--eval.n_videos=1',
        `--eval.video_size=[${settings.videoSize}]`,
        `--seed=${testedSeed(seed)}`,
        `--output_dir=${results}`,
      ],
    );
    const evaluation = JSON.parse(readFileSync(join(results, 'eval_info.json'), 'utf8')) as Evaluation;
    policies.push(policyResult(method.name, evaluation));
  }
  const result = { seed, policies };
  writeSeedPage(result, runOf(base), tuned.map(runOf), pageIn(folder));
  return result;
}

type Command = (argv: readonly string[], output: Output) => Promise<number>;

/** Runs numbered commands, each printed as a user would type it. */
function steps(output: Output) {
  let number = 0;
  return async (title: string, name: string, command: Command, argv: readonly string[]): Promise<void> => {
    output.out(`\n${++number}. ${title}\n\n   craft ${name} ${argv.map(quoted).join(' ')}\n\n`);
    const code = await command(argv, output);
    if (code !== 0) throw new Interrupted(code);
  };
}

const quoted = (word: string): string => (/^[\w./,:=@-]+$/.test(word) ? word : `'${word}'`);
