import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Xoshiro128 } from '@craft-ft/datasets/random';
import {
  atomicSymlink,
  atomicWriteFile,
  CraftError,
  cudaDeviceCount,
  getRngState,
  recoverFolders,
  replaceFolder,
  safetensors,
  scope,
  setRngState,
  type Tensor,
  tensor,
} from '@craft-ft/torch';
import type { TrainConfig } from './config/train.js';
import type { UpdateStrategy } from './method.js';
import type { MetricsLog } from './metrics-log.js';
import type { Optimization } from './optimization.js';

/** The log's unfinished window; not LeRobot's, which ignores it. */
const METRICS_FILE = 'metrics_state.json';

/** The parts of a run that a checkpoint saves. */
export interface RunState {
  config: TrainConfig;
  optimization: Optimization;
  strategy: UpdateStrategy;
  metrics: MetricsLog;
  /** Writes what `pretrained_model/` holds: the policy, its processors, and the configuration of the run. */
  saveModel(folder: string): void;
}

/** `000500`: at least six digits, and as many as the run's last step has. */
export function stepFolder(step: number, steps: number): string {
  return String(step).padStart(Math.max(6, String(steps).length), '0');
}

// Clean up after a process that was killed while saving; only one process works on a run.
function removeUnfinished(checkpoints: string): void {
  if (!existsSync(checkpoints)) return;
  recoverFolders(checkpoints);
  for (const entry of readdirSync(checkpoints)) {
    if (/^\..+\.\d+\.tmp$/.test(entry)) rmSync(join(checkpoints, entry), { recursive: true, force: true });
  }
}

/**
 * Writes `checkpoints/<step>/` in LeRobot's layout (`pretrained_model/`, `training_state/`) and points `checkpoints/last` at it.
 * All or nothing: it is written under a hidden name and renamed when complete; a failure leaves earlier checkpoints as they were.
 *
 * @param step steps completed
 * @returns the checkpoint's folder
 * @throws CraftError DISK_FULL, WRITE_FAILED; WEIGHTS_NOT_FINITE when any weight is NaN or infinite
 */
export function saveCheckpoint(run: RunState, step: number): string {
  requireFiniteWeights(run, step);
  const checkpoints = join(run.config.output_dir, 'checkpoints');
  const name = stepFolder(step, run.config.steps);
  const folder = join(checkpoints, name);
  const unfinished = join(checkpoints, `.${name}.${process.pid}.tmp`);
  try {
    removeUnfinished(checkpoints);
    const [model, training] = [join(unfinished, 'pretrained_model'), join(unfinished, 'training_state')];
    for (const part of [model, training]) mkdirSync(part, { recursive: true });
    scope(() => {
      run.saveModel(model);
      saveTrainingState(run, step, training);
    });
    replaceFolder(unfinished, folder);
    atomicSymlink(name, join(checkpoints, 'last'));
  } catch (error) {
    discard(unfinished);
    throw writeError(folder, error);
  }
  return folder;
}

function requireFiniteWeights({ optimization, config }: RunState, step: number): void {
  const { segments } = optimization.parameters;
  if (scope(() => segments.every(({ data }) => data.isfinite().all().item() === 1))) return;
  throw new CraftError(
    'WEIGHTS_NOT_FINITE',
    `step ${step}: the update made weights infinite or NaN, they are not saved; continue from an earlier checkpoint with ` +
      `a lower optimizer.lr (now ${config.optimizer.lr})`,
  );
}

// A second failure here must not hide the first.
function discard(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {}
}

function writeError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'DISK_FULL') {
    return new CraftError('DISK_FULL', `${path}: no space left on the disk; earlier checkpoints are intact`, {
      cause: error,
    });
  }
  if (error instanceof CraftError || typeof code !== 'string') return error;
  return new CraftError(
    'WRITE_FAILED',
    `${path}: cannot be written (${code}); earlier checkpoints are intact`,
    {
      cause: error,
    },
  );
}

function saveTrainingState(
  { config, optimization, strategy, metrics }: RunState,
  step: number,
  folder: string,
): void {
  const parallelism = { dp_replicate: 1, dp_shard: 1, ring_degree: 1, ulysses_degree: 1 };
  const progress = {
    step,
    dp_world_size: 1,
    batch_size: config.batch_size,
    grad_accum_steps: config.gradient_accumulation_steps,
    parallelism,
  };
  writeJson(join(folder, 'training_step.json'), progress, 4);
  safetensors.saveFile(join(folder, 'rng_state.safetensors'), rngStateTensors(config.seed, step));
  safetensors.saveFile(join(folder, 'optimizer_state.safetensors'), optimization.adamw.stateDict());
  writeJson(join(folder, 'optimizer_param_groups.json'), parameterGroups(config, optimization, step), 4);
  if (config.scheduler !== null) {
    writeJson(join(folder, 'scheduler_state.json'), schedulerState(optimization, step), 4);
  }
  atomicWriteFile(join(folder, METRICS_FILE), metrics.state());
  for (const [file, text] of strategy.stateFiles()) atomicWriteFile(join(folder, file), text);
  for (const [file, tensors] of strategy.stateTensors?.() ?? [])
    safetensors.saveFile(join(folder, file), tensors);
}

// PyTorch's keys; its loader wants all of them. The learning rates here are those of the next step.
function parameterGroups(
  config: TrainConfig,
  { parameters, adamw, schedule }: Optimization,
  step: number,
): unknown {
  return parameters.groups.map((group, index) => ({
    lr: adamw.learningRates[index] * schedule(step),
    betas: adamw.betas,
    eps: adamw.eps,
    weight_decay: group.weightDecay ?? config.optimizer.weight_decay,
    amsgrad: false,
    maximize: false,
    foreach: null,
    capturable: false,
    differentiable: false,
    fused: null,
    decoupled_weight_decay: true,
    ...(config.scheduler === null ? {} : { initial_lr: adamw.learningRates[index] }),
    params: parameters.entries.flatMap((entry, i) => (entry.group === index ? [i] : [])),
  }));
}

// `LambdaLR.state_dict()`.
function schedulerState({ adamw, schedule }: Optimization, step: number): unknown {
  return {
    base_lrs: adamw.learningRates,
    last_epoch: step,
    _step_count: step + 1,
    _get_lr_called_within_step: false,
    _last_lr: adamw.learningRates.map((lr) => lr * schedule(step)),
    lr_lambdas: adamw.learningRates.map(() => null),
  };
}

/** Restores optimiser, method and random numbers from a checkpoint; the policy's weights are loaded with the policy. */
export function restoreTrainingState(run: RunState, checkpoint: string): number {
  const folder = join(checkpoint, 'training_state');
  const { step } = readJson(join(folder, 'training_step.json'));
  if (typeof step !== 'number' || !Number.isSafeInteger(step) || step < 0) {
    throw new CraftError(
      'CHECKPOINT_INVALID',
      `${folder}/training_step.json: "step" must be a whole number, found ${step}`,
    );
  }
  scope(() => {
    const state = join(folder, 'optimizer_state.safetensors');
    run.optimization.adamw.loadStateDict(safetensors.loadFile(state), state);
  });
  const found = <T>(name: string, read: (file: string) => T): T | null => {
    const file = join(folder, name);
    return existsSync(file) ? read(file) : null;
  };
  scope(() =>
    run.strategy.restore(
      (name) => found(name, (file) => readFileSync(file, 'utf8')),
      (name) => found(name, (file) => safetensors.loadFile(file)),
    ),
  );
  const window = join(folder, METRICS_FILE);
  if (existsSync(window)) run.metrics.restore(readFileSync(window, 'utf8'), window);
  // Last, because building the parts of the run draws random numbers.
  scope(() => restoreRngState(join(folder, 'rng_state.safetensors')));
  return step;
}

/** The step of a checkpoint folder, without reading anything else. */
export function checkpointStep(checkpoint: string): number {
  return Number(readJson(join(checkpoint, 'training_state', 'training_step.json')).step);
}

function writeJson(path: string, value: unknown, indent: number): void {
  atomicWriteFile(path, JSON.stringify(value, null, indent));
}

function readJson(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CraftError('CHECKPOINT_INVALID', `${path}: ${reason}`, { cause });
  }
}

const MT_WORDS = 624;
const CUDA_STATE = 'torch_cuda_rng_state';

/**
 * `rng_state.safetensors`, as LeRobot's `utils/random_utils.py`. Only libtorch's generator is used here; LeRobot also restores Python's and
 * NumPy's from this file, so it holds valid states for them, a function of the step.
 */
function rngStateTensors(seed: number, step: number): Map<string, Tensor> {
  const random = new Xoshiro128(seed, step);
  const words = BigInt64Array.from({ length: MT_WORDS }, () => BigInt(random.next()));
  const scalar = (value: bigint) => tensor(BigInt64Array.of(value));
  return new Map([
    ['py_rng_version', scalar(3n)],
    ['py_rng_state', tensor(BigInt64Array.of(...words, BigInt(MT_WORDS)))],
    ['np_rng_state_values', tensor(words)],
    ['np_rng_state_index', scalar(BigInt(MT_WORDS))],
    ['np_rng_has_gauss', scalar(0n)],
    ['np_rng_cached_gaussian', tensor([0])],
    ['torch_rng_state', getRngState()],
    // LeRobot's own: the current CUDA device's generator, where there is one.
    ...(cudaDeviceCount() > 0 ? [[CUDA_STATE, getRngState('cuda')] as const] : []),
  ]);
}

/** Restores libtorch's generator from a file that this project or LeRobot wrote. */
function restoreRngState(path: string): void {
  using file = safetensors.open(path);
  using state = file.get('torch_rng_state');
  setRngState(state);
  if (cudaDeviceCount() === 0 || !file.has(CUDA_STATE)) return;
  using cuda = file.get(CUDA_STATE);
  setRngState(cuda, 'cuda');
}
