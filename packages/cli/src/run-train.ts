import { resolveEpsilon } from '@craft-ft/craft';
import { formatFeatureTable } from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch/errors';
import {
  checkResume,
  formatRecord,
  prepareTraining,
  RESUME_RULES,
  type ResumeRules,
  type TrainingRun,
  train,
} from '@craft-ft/training';
import type { Output } from './command.js';
import { endOfRun } from './end-of-run.js';
import { evaluateDuringTraining } from './evaluate-during-training.js';
import { EVALUATION_CONFIG_FILE } from './evaluation-config.js';
import { INTERRUPTED, listenForInterrupt } from './interrupt.js';
import { CRAFT_CONFIG_FILE, type TrainRequest } from './load-config.js';
import { makeCraft, sharedRecordings } from './make-craft.js';
import { TrainProgress } from './progress.js';
import type { CraftTrainConfig } from './train-config.js';

const RULES: ResumeRules = {
  free: [
    ...RESUME_RULES.free,
    'env',
    'eval_freq',
    'eval',
    'craft.log_craft_metrics_freq',
    'craft.save_lambda_history',
    'craft.anchor_dataset_root',
  ],
  warned: [
    ...RESUME_RULES.warned,
    'craft.lambda_controller',
    'craft.lambda_lr',
    'craft.lambda_kp',
    'craft.lambda_ki',
    'craft.lambda_kd',
    'craft.lambda_smoothing',
    'craft.lambda_max',
    'craft.epsilon_start',
    'craft.epsilon_end',
    'craft.epsilon_decay_steps',
    'craft.epsilon_schedule',
    'craft.conflict_threshold',
    'craft.use_grad_projection',
    'craft.surgery',
    'craft.surgery_granularity',
    'craft.cagrad_c',
    'craft.stale_projection',
    'craft.projection_mode',
    'craft.retention_scale',
  ],
};

// The number of steps only matters to what is stretched over the run.
function resumeRules({ scheduler, craft }: CraftTrainConfig): ResumeRules {
  const { start, end } = resolveEpsilon(craft);
  const epsilonFalls = craft.epsilon_schedule !== 'constant' && start !== end;
  const stretched = scheduler !== null || (craft.enabled && epsilonFalls && craft.epsilon_decay_steps === 0);
  return stretched ? RULES : { ...RULES, free: [...RULES.free, 'steps'] };
}

/**
 * Runs a training and returns the exit code of the process: 0 when it is complete, 130 when it was interrupted and saved.
 */
export async function runTrain(request: TrainRequest, output: Output): Promise<number> {
  const { config, resumeFrom, saved } = request;
  const say = (line: string) => output.out(`${line}\n`);
  const warn = (line: string) => output.err(`craft: warning: ${line}\n`);
  const shared = sharedRecordings(config);
  if (shared !== null) warn(shared);
  if (resumeFrom !== null && saved !== null) {
    for (const line of checkResume(saved, config, resumeRules(config), resumeFrom)) warn(line);
  }
  const { craft, env, eval_freq, eval: evaluation, ...plain } = config;
  const extraFiles = new Map<string, string>();
  const save = (file: string, part: unknown) => extraFiles.set(file, JSON.stringify(part, null, 4));
  if (craft.enabled) save(CRAFT_CONFIG_FILE, craft);
  if (env !== null) save(EVALUATION_CONFIG_FILE, { env, eval_freq, eval: evaluation });
  let size = '';
  const run = await prepareTraining(plain, {
    resumeFrom,
    extraFiles,
    onWarning: warn,
    onDownload: say,
    onData: ({ computedStats, features, episodes, frames }) => {
      for (const what of computedStats) say(`statistics computed from the frames: ${what}`);
      for (const line of formatFeatureTable(features)) say(line);
      size = `${episodes} episodes, ${frames} frames`;
    },
    onPolicy: ({ type, trainableParameters, device }) =>
      say(`${size}; ${type} with ${trainableParameters} trainable parameters on ${device}`),
    ...(craft.enabled ? { makeStrategy: (context) => makeCraft(context, config) } : {}),
  });
  try {
    return await trainPrepared(run, config, output);
  } finally {
    await run.close();
  }
}

async function trainPrepared(run: TrainingRun, config: CraftTrainConfig, output: Output): Promise<number> {
  const { steps, output_dir: folder, seed, rename_map: renameMap } = config;
  if (run.startStep >= steps) {
    output.err(
      `craft: already at step ${run.startStep}, steps=${steps}: nothing to do; raise --steps to go on\n`,
    );
    return 0;
  }
  output.out(`${run.strategy.name}, steps ${run.startStep + 1} to ${steps}, into ${folder}\n`);
  const evaluation = await evaluateDuringTraining(run, config, { seed, renameMap });
  const progress = new TrainProgress(output, run.startStep, steps);
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
        onCheckpoint: (checkpoint) => progress.print(`saved ${checkpoint}`),
      },
      interrupt.signal,
      evaluation,
    );
    progress.stop();
    const said = await run.strategy.summary();
    for (const line of endOfRun(config, run.strategy, said)) output.out(`${line}\n`);
    if (!result.interrupted) return 0;
    output.err(`craft: interrupted at step ${result.step} of ${steps}; ${howToContinue(config, result)}\n`);
    return INTERRUPTED;
  } catch (error) {
    progress.stop();
    // What led to the failure is worth a look.
    if (error instanceof CraftError) {
      for (const line of endOfRun(config, run.strategy, [])) output.out(`${line}\n`);
    }
    throw error;
  } finally {
    progress.stop();
    interrupt.stop();
  }
}

function howToContinue(
  { output_dir: folder, save_checkpoint: saves }: Pick<CraftTrainConfig, 'output_dir' | 'save_checkpoint'>,
  { checkpoint }: { checkpoint: string | null },
): string {
  if (checkpoint !== null) return `continue with craft train --resume ${folder}`;
  return saves ? 'no step was done' : 'nothing was saved (save_checkpoint=false)';
}
