import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { CraftStrategy } from '@craft-ft/craft';
import {
  checkResume,
  formatRecord,
  looksLikeRepoId,
  prepareTraining,
  RESUME_RULES,
  type ResumeRules,
  type StrategyContext,
  train,
  type UpdateStrategy,
} from '@craft-ft/lerobot';
import { CraftError } from '@craft-ft/torch/errors';
import { CRAFT_CONFIG_FILE, type TrainRequest } from './load-config.js';
import type { Output } from './main.js';
import { TrainProgress } from './progress.js';
import type { CraftTrainConfig } from './train-config.js';

const RULES: ResumeRules = {
  free: [
    ...RESUME_RULES.free,
    'craft.log_craft_metrics_freq',
    'craft.save_lambda_history',
    'craft.anchor_dataset_root',
  ],
  warned: [
    ...RESUME_RULES.warned,
    'craft.lambda_lr',
    'craft.lambda_max',
    'craft.epsilon_start',
    'craft.epsilon_end',
    'craft.epsilon_decay_steps',
    'craft.epsilon_schedule',
    'craft.conflict_threshold',
    'craft.use_grad_projection',
    'craft.projection_mode',
  ],
};

// The number of steps only matters to what is stretched over the run.
function resumeRules({ scheduler, craft }: CraftTrainConfig): ResumeRules {
  const epsilonFalls = craft.epsilon_schedule !== 'constant' && craft.epsilon_start !== craft.epsilon_end;
  const stretched = scheduler !== null || (craft.enabled && epsilonFalls && craft.epsilon_decay_steps === 0);
  return stretched ? RULES : { ...RULES, free: [...RULES.free, 'steps'] };
}

/** Exit code of a run that Ctrl-C stopped, as shells give it (128 + SIGINT). */
const INTERRUPTED = 130;

/**
 * Runs a training and returns the exit code of the process: 0 when it is complete, 130 when it was interrupted and saved.
 */
export async function runTrain(request: TrainRequest, output: Output): Promise<number> {
  const { config, resumeFrom, saved } = request;
  const warn = (line: string) => output.err(`craft: warning: ${line}\n`);
  if (resumeFrom !== null && saved !== null) {
    for (const line of checkResume(saved, config, resumeRules(config), resumeFrom)) warn(line);
  }
  const { craft, ...plain } = config;
  const run = await prepareTraining(plain, {
    resumeFrom,
    onInfo: (line) => output.out(`${line}\n`),
    onWarning: warn,
    ...(craft.enabled
      ? {
          makeStrategy: (context) => makeCraft(context, config),
          extraFiles: new Map([[CRAFT_CONFIG_FILE, JSON.stringify(craft, null, 4)]]),
        }
      : {}),
  });
  if (run.startStep >= plain.steps) {
    await run.close();
    output.err(
      `craft: already at step ${run.startStep}, steps=${plain.steps}: nothing to do; raise --steps to go on\n`,
    );
    return 0;
  }
  output.out(
    `${run.strategy.name}, steps ${run.startStep + 1} to ${plain.steps}, into ${plain.output_dir}\n`,
  );
  const progress = new TrainProgress(output, run.startStep, plain.steps);
  const interrupt = listenForInterrupt(() =>
    progress.print('stopping after this step; Ctrl-C again to stop at once'),
  );
  try {
    const result = await train(
      run,
      {
        onStep: (step, _, loss) => progress.step(step, loss),
        onLog: (record) => progress.print(formatRecord(record)),
        onLine: (line) => progress.print(line),
        onCheckpoint: (folder) => progress.print(`saved ${folder}`),
      },
      interrupt.signal,
    );
    progress.stop();
    for (const line of await run.strategy.summary()) output.out(`${line}\n`);
    if (!result.interrupted) return 0;
    output.err(
      `craft: interrupted at step ${result.step} of ${plain.steps}; ${howToContinue(plain.output_dir, result)}\n`,
    );
    return INTERRUPTED;
  } finally {
    progress.stop();
    interrupt.stop();
    await run.close();
  }
}

function howToContinue(folder: string, { checkpoint }: { checkpoint: string | null }): string {
  return checkpoint === null
    ? 'nothing was saved (save_checkpoint=false)'
    : `continue with craft train --resume ${folder}`;
}

async function makeCraft(
  context: StrategyContext,
  { craft, seed }: CraftTrainConfig,
): Promise<UpdateStrategy> {
  const choice = {
    repo_id: craft.anchor_dataset_path,
    root: craft.anchor_dataset_root ?? localFolder(craft.anchor_dataset_path),
    episodes: craft.anchor_episodes,
    exclude_episodes: null,
  };
  if (choice.root === null && !looksLikeRepoId(choice.repo_id)) {
    throw new CraftError(
      'ANCHORS_MISSING',
      `craft.anchor_dataset_path=${choice.repo_id}: neither a dataset's folder nor a name like user/name`,
    );
  }
  const anchors = await context.openStream(
    choice,
    craft.anchor_batch_size,
    craft.anchor_seed ?? anchorSeed(seed),
  );
  return new CraftStrategy({ ...context, anchors, config: craft, steps: context.config.steps });
}

// The task's own seed would order the same dataset alike: anchors would be the very frames being trained on.
function anchorSeed(seed: number): number {
  return seed + 2 ** 32;
}

// `user/name` is looked up among the downloaded datasets; anything that is a folder is taken as it is.
function localFolder(path: string): string | null {
  return existsSync(join(path, 'meta')) || isAbsolute(path) || path.startsWith('.') ? path : null;
}

/** Ctrl-C once: finish the step, save and stop. Twice: stop at once. */
function listenForInterrupt(onFirst: () => void): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort();
    onFirst();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    stop: () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
    },
  };
}
