import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { loadTrainConfig } from '../load-config.js';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';

const SEED = 1000;
const EPISODES = 100;
const ANCHOR_EPISODES = 20;
const TRAIN_STEPS = 1200;
const FINE_TUNE_STEPS = 600;
const ROLLOUTS = 100;

/** Test starts are none of the recorded ones. */
const ROLLOUT_SEED = 500_000;

const POLICY = [
  '--policy.type=act',
  '--policy.chunk_size=8',
  '--policy.n_action_steps=4',
  '--policy.dim_model=64',
  '--policy.n_heads=4',
  '--policy.dim_feedforward=128',
  '--policy.n_encoder_layers=2',
  '--policy.use_vae=false',
  '--policy.dropout=0',
];

/**
 * `craft quickstart [--output_dir=…]`: records two small datasets, trains a policy on the first, fine-tunes it on the second with and
 * without CRaFT, and lets all three do both tasks. Every training is the `craft train` command that is printed above it.
 */
export async function quickstartCommand(argv: readonly string[], output: Output): Promise<number> {
  const folder = outputFolder(argv);
  const { runTrain } = await import('../run-train.js');
  const { recordDataset } = await import('../quickstart/record.js');
  const { loadActor, successRate } = await import('../quickstart/rollout.js');
  const started = performance.now();
  const say = (text: string) => output.out(`${text}\n`);

  say('1. Recording two tasks on a toy table: put the object into the red bin, and into the blue bin.');
  mkdirSync(folder, { recursive: true });
  const [red, blue] = [join(folder, 'data', 'red'), join(folder, 'data', 'blue')];
  for (const [root, task] of [
    [red, 0],
    [blue, 1],
  ] as const) {
    say(
      `   ${root}: ${await recordDataset(root, task, EPISODES, SEED + task * 10_000)} frames in ${EPISODES} episodes (LeRobot v3.0)`,
    );
  }

  const run = async (title: string, name: string, flags: string[]): Promise<string> => {
    const args = [
      ...flags,
      `--output_dir=${join(folder, name)}`,
      '--batch_size=32',
      '--scheduler.type=linear',
      '--log_freq=200',
      '--save_freq=0',
    ];
    say(`\n${title}\n\n   craft train ${args.join(' ')}\n`);
    const code = await runTrain(loadTrainConfig(args), output);
    if (code !== 0) throw new Interrupted(code);
    return join(folder, name);
  };
  try {
    const base = await run('2. Training on red.', 'red', [
      ...POLICY,
      '--dataset.repo_id=quickstart/red',
      `--dataset.root=${red}`,
      `--steps=${TRAIN_STEPS}`,
      '--optimizer.lr=1e-3',
    ]);
    const onBlue = [
      `--policy.path=${base}`,
      '--dataset.repo_id=quickstart/blue',
      `--dataset.root=${blue}`,
      `--steps=${FINE_TUNE_STEPS}`,
      '--optimizer.lr=1e-3',
    ];
    const plain = await run('3. Fine-tuning that policy on blue, the plain way.', 'blue-plain', onBlue);
    const anchors = Array.from({ length: ANCHOR_EPISODES }, (_, i) => i);
    const craft = await run(
      `4. The same with CRaFT: ${ANCHOR_EPISODES} red episodes are the anchors, whose loss may not rise.`,
      'blue-craft',
      [
        ...onBlue,
        '--craft.enabled=true',
        `--craft.anchor_dataset_path=${red}`,
        `--craft.anchor_episodes=[${anchors}]`,
        '--craft.retention_freq=1',
        '--craft.epsilon_mode=relative',
        '--craft.epsilon_start=1',
        '--craft.epsilon_end=1',
        '--craft.lambda_lr=0.5',
        '--craft.log_craft_metrics_freq=0',
      ],
    );
    say(`\n5. ${ROLLOUTS} trials of each policy at each task, from the same starts.\n`);
    const percent = (rate: number) => `${Math.round(rate * 100)} %`.padStart(6);
    say('                              red     blue');
    for (const [name, path] of [
      ['trained on red', base],
      ['fine-tuned, plain', plain],
      ['fine-tuned, CRaFT', craft],
    ] as const) {
      const actor = loadActor(path);
      const rates = ([0, 1] as const).map((task) => successRate(actor, task, ROLLOUTS, ROLLOUT_SEED));
      say(`   ${name.padEnd(22)}${rates.map(percent).join('   ')}`);
    }
    say(`\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s; everything is in ${folder}.`);
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    throw error;
  }
}

class Interrupted extends CraftError {
  constructor(readonly exitCode: number) {
    super('INTERRUPTED', 'the quickstart was interrupted');
  }
}

function outputFolder(argv: readonly string[]): string {
  const prefix = '--output_dir=';
  const [first, ...more] = argv;
  if (more.length > 0 || (first !== undefined && !first.startsWith(prefix))) {
    throw new UsageError(`craft quickstart takes only ${prefix}FOLDER, found ${argv.join(' ')}`);
  }
  if (first !== undefined) return first.slice(prefix.length);
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  return join('outputs', 'quickstart', stamp);
}
