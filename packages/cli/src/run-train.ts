import { formatFeatureTable } from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch/errors';
import { checkResume, formatRecord, prepareTraining, type TrainingRun, train } from '@craft-ft/training';
import type { Output } from './command.js';
import { endOfRun } from './end-of-run.js';
import { evaluateDuringTraining } from './evaluate-during-training.js';
import { EVALUATION_CONFIG_FILE } from './evaluation-config.js';
import { INTERRUPTED, listenForInterrupt } from './interrupt.js';
import type { TrainRequest } from './load-config.js';
import { Progress } from './progress.js';
import {
  type CraftTrainConfig,
  configOf,
  methodFile,
  methodOf,
  plainFields,
  resumeRules,
} from './train-config.js';

/**
 * Runs a training and returns the exit code of the process: 0 if it completed, 130 if it was interrupted and saved.
 */
export async function runTrain(request: TrainRequest, output: Output): Promise<number> {
  const { config, resumeFrom, saved } = request;
  const say = (line: string) => output.out(`${line}\n`);
  const warn = (line: string) => output.err(`craft: warning: ${line}\n`);
  const method = methodOf(config);
  const own = configOf(config, method);
  const plain = plainFields(config);
  for (const line of (await method.warnings?.(own, plain)) ?? []) warn(line);
  if (resumeFrom !== null && saved !== null) {
    for (const line of checkResume(saved, config, resumeRules(config, saved), resumeFrom)) warn(line);
  }
  const { env, eval_freq, eval: evaluation } = config;
  const extraFiles = new Map<string, string>();
  const save = (file: string, part: unknown) => extraFiles.set(file, JSON.stringify(part, null, 4));
  if (method.schema !== null) save(methodFile(method), own);
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
    makeStrategy: (context) => method.strategy(context, own),
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
  const progress = new Progress(output);
  progress.begin('steps', steps, { start: run.startStep, note: 'loss …' });
  const interrupt = listenForInterrupt(() =>
    progress.print('stopping after this step; Ctrl-C again to stop at once'),
  );
  try {
    const result = await train(
      run,
      {
        onStep: (step, _, loss) => progress.update(step, `loss ${loss.toFixed(4)}`),
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
