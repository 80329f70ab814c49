import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { METHODS } from '@craft-ft/craft/methods';
import { findPolicyDir, isPlainObject, type PlainObject, readJsonObject } from '@craft-ft/datasets/json';
import { ConfigError, withOwnFiles } from '@craft-ft/policies/config';
import { CraftError, recoverFolders } from '@craft-ft/torch';
import { resolveTrainConfig, type TrainingMethod } from '@craft-ft/training/config';
import { parse } from 'yaml';
import { UsageError } from './command.js';
import { EVALUATION_CONFIG_FILE, renameEvaluationFields } from './evaluation-config.js';
import { applyFlags, type Flag, readBoolean, splitFlags } from './flags.js';
import {
  type CraftTrainConfig,
  chooseMethod,
  craftTrainSpec,
  methodFile,
  trainFlags,
} from './train-config.js';

/** What `craft train` was asked to do. */
export interface TrainRequest {
  /** The effective configuration, complete and validated. */
  config: CraftTrainConfig;
  /** Checkpoint folder (`RUN/checkpoints/000500`, links resolved) to continue from, or null for a new run. */
  resumeFrom: string | null;
  /** With `resumeFrom`: the checkpoint's own configuration without the flags, for comparison with `config`. */
  saved: CraftTrainConfig | null;
  /** LeRobot flags that were given but have no effect here, one line per reason, to be shown once. */
  ignored: string[];
}

/**
 * Assembles the configuration: the file of `--config_path`, then the policy of `--policy.path`, then the flags.
 *
 * @param argv words after `craft train`.
 * @throws UsageError, ConfigError (all problems at once), CraftError for files that cannot be read.
 */
export function loadTrainConfig(argv: readonly string[], now: Date = new Date()): TrainRequest {
  const table = trainFlags();
  const all = runFolderToConfigPath(splitFlags(argv, table));
  const flags = all.filter(({ name }) => name !== 'config_path' && name !== 'policy.path');
  const file = configFile(all);
  const { tree, checkpoint } = file === null ? { tree: {}, checkpoint: null } : readConfigFile(file);
  const started = structuredClone(tree);
  chooseMethod(started);
  dropOtherMethods(tree, flags);
  // A run's own file says how that run was started, not how this one is.
  if (checkpoint !== null) delete tree.resume;
  loadPolicy(tree, special(all, 'policy.path'));
  const problems = [...applyFlags(tree, flags, table), ...chooseMethod(tree, flags)];
  if (problems.length > 0) throw new ConfigError(problems);
  const resumeFrom = tree.resume === true ? resumePoint(checkpoint, all) : null;
  if (resumeFrom !== null && !flags.some(({ name }) => name === 'output_dir')) {
    tree.output_dir = dirname(dirname(resumeFrom));
  }
  // Resolved in the same way, so that a field missing from the file is compared by its default.
  const saved = resumeFrom === null ? null : resolveTrainConfig(started, craftTrainSpec, now).config;
  return { ...resolveTrainConfig(tree, craftTrainSpec, now), resumeFrom, saved };
}

/** `--resume RUN` means `--resume=true --config_path=RUN`. */
function runFolderToConfigPath(flags: Flag[]): Flag[] {
  return flags.flatMap((flag) => {
    if (flag.name !== 'resume' || flag.text === null || readBoolean(flag.text) !== undefined) return [flag];
    return [
      { name: 'resume', text: 'true' },
      { name: 'config_path', text: flag.text },
    ];
  });
}

function special(flags: Flag[], name: string): string | null {
  const flag = flags.filter((one) => one.name === name).at(-1);
  if (flag === undefined) return null;
  if (flag.text === null || flag.text === '') throw new UsageError(`--${name} needs a path`);
  return flag.text;
}

/** Where the configuration file may be below the path that the user gives: a checkpoint's model folder, a checkpoint, a run. */
const PLACES = ['.', 'pretrained_model', join('checkpoints', 'last', 'pretrained_model')];

function configFile(flags: Flag[]): string | null {
  const output = flags.filter(({ name }) => name === 'output_dir').at(-1)?.text ?? null;
  const resuming = flags.some(({ name, text }) => name === 'resume' && (text === null || readBoolean(text)));
  const path = special(flags, 'config_path') ?? (resuming ? output : null);
  if (path === null) return null;
  if (resuming) recoverCheckpoints(path);
  if (!existsSync(path)) throw new CraftError('CONFIG_UNREADABLE', `${path}: no such file or folder`);
  if (!statSync(path).isDirectory()) return path;
  const files = PLACES.map((place) => join(path, place, 'train_config.json'));
  const found = files.find((file) => existsSync(file));
  if (found === undefined) {
    const message = `${path}: no train_config.json in it, in pretrained_model/ or in checkpoints/last/; is this a run?`;
    throw new CraftError('CONFIG_UNREADABLE', message);
  }
  return found;
}

// A process killed while replacing a checkpoint may have left `last` dangling. `path` is the run or is inside it.
function recoverCheckpoints(path: string): void {
  recoverFolders(join(path, 'checkpoints'));
  for (let folder = resolve(path); folder !== dirname(folder); folder = dirname(folder)) {
    if (basename(folder) === 'checkpoints') recoverFolders(folder);
  }
}

/** Reads a configuration file; `checkpoint` is the checkpoint folder that contains it, if any. */
function readConfigFile(file: string): { tree: PlainObject; checkpoint: string | null } {
  const tree = /\.ya?ml$/i.test(file) ? readYamlObject(file) : readJsonObject(file);
  const folder = dirname(realpathSync(file));
  const inCheckpoint = basename(folder) === 'pretrained_model' && basename(file) === 'train_config.json';
  if (inCheckpoint && isPlainObject(tree.policy)) tree.policy = withOwnFiles(tree.policy, folder);
  renameEvaluationFields(tree);
  const evaluationFile = join(folder, EVALUATION_CONFIG_FILE);
  if (inCheckpoint && existsSync(evaluationFile)) Object.assign(tree, readJsonObject(evaluationFile));
  if (inCheckpoint) for (const method of METHODS) readMethod(method, folder, tree);
  return { tree, checkpoint: inCheckpoint ? dirname(folder) : null };
}

/** Adds a method's configuration from a checkpoint, which also selects the method. */
function readMethod(method: TrainingMethod, folder: string, tree: PlainObject): void {
  const file = join(folder, methodFile(method));
  if (existsSync(file)) {
    tree[method.name] = readJsonObject(file);
    if (method.switchedOnBy === undefined) tree.method = method.name;
  } else if (
    method.stateFile !== undefined &&
    existsSync(join(dirname(folder), 'training_state', method.stateFile))
  ) {
    // Continuing without it would silently be plain fine-tuning.
    const message = `${file} is missing, but the run was trained with ${method.title}: restore the file`;
    throw new CraftError('CONFIG_UNREADABLE', message);
  }
}

/** A method selected by a flag replaces the file's, whose settings then no longer apply. */
function dropOtherMethods(tree: PlainObject, flags: readonly Flag[]): void {
  const chosen = flags.filter(({ name }) => name === 'method').at(-1)?.text;
  if (chosen === undefined) return;
  for (const { name } of METHODS) if (name !== chosen) delete tree[name];
}

function readYamlObject(file: string): PlainObject {
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const firstLine = (error as Error).message.split('\n')[0];
    throw new CraftError('CONFIG_UNREADABLE', `${file}: ${firstLine}`, { cause: error });
  }
  if (!isPlainObject(value)) throw new CraftError('CONFIG_UNREADABLE', `${file}: expected a YAML mapping`);
  return value;
}

/** Replaces `tree.policy` by the configuration in a policy folder, keeping the fields next to a file's `policy.path`. */
function loadPolicy(tree: PlainObject, flag: string | null): void {
  const { path: inFile, ...beside } = isPlainObject(tree.policy) ? tree.policy : {};
  const path = flag ?? (typeof inFile === 'string' ? inFile : null);
  if (path === null) return;
  const dir = findPolicyDir(path);
  const policy = withOwnFiles(readJsonObject(join(dir, 'config.json')), dir);
  // Where the old policy was published does not concern this run; `last` may point elsewhere tomorrow.
  const fresh = { push_to_hub: false, pretrained_path: realpathSync(dir) };
  tree.policy = { ...policy, ...fresh, ...(flag === null ? beside : {}) };
}

function resumePoint(checkpoint: string | null, flags: Flag[]): string {
  if (flags.some(({ name }) => name === 'policy.path')) {
    throw new UsageError('--resume continues with the weights of the run; leave out --policy.path');
  }
  if (checkpoint === null) {
    throw new UsageError(
      '--resume needs the run to continue: --resume RUN_DIR (or --config_path=.../train_config.json)',
    );
  }
  return checkpoint;
}
