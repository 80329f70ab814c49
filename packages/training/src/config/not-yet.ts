import { deletePath, isPlainObject, type PlainObject } from '@craft-ft/datasets/json';
import { type Problem, showValue } from '@craft-ft/policies/config';

/**
 * A flag that LeRobot has and this project does not act on.
 *
 * Such a flag never passes silently: a value that asks for nothing (wandb.enable=false) is accepted, one that cannot change
 * what is trained is accepted and reported as ignored, every other is refused with the reason.
 */
export interface NotYet {
  /** Dotted name, or `group.*` for every field below a group. The first entry that matches decides. */
  flag: string;
  /** Values that match the actual behaviour (null always does); `any` if no value can change what is trained. */
  off: readonly unknown[] | 'any';
  reason: string;
  /** The field exists in the schema: keep an accepted value instead of removing it. */
  keep?: boolean;
}

const VIDEO = 'cameras are decoded by one built-in decoder';
const LOADER = "it tunes the workers of Python's loader";
const ROLLOUT = 'this package has no environments';
const WANDB = 'Weights & Biases is not available yet; metrics.jsonl and the log have every number';
const HUB = 'training does not upload by itself; pass false and use `craft push` afterwards';
const SHARDED = 'training in one process on one device only, for now';
const HELD_OUT = 'a held-out loss is not available yet';

/** LeRobot's training flags that have no effect here, with the reason. The one place where they are listed. */
export const LEROBOT_FLAGS_NOT_YET: readonly NotYet[] = [
  { flag: 'policy.push_to_hub', off: [false], reason: HUB, keep: true },
  { flag: 'policy.use_amp', off: [false], reason: 'mixed precision is not available yet', keep: true },
  {
    flag: 'policy.pretrained_revision',
    off: [],
    reason: 'policies of the Hub are taken from their main branch',
    keep: true,
  },
  {
    flag: 'policy.discover_packages_path',
    off: [],
    reason: 'policies from other packages cannot be registered',
  },
  { flag: 'dataset.repo_type', off: ['dataset'], reason: 'the Hub is asked for datasets only' },
  { flag: 'dataset.eval_split', off: [0], reason: HELD_OUT },
  { flag: 'dataset.video_backend', off: 'any', reason: VIDEO },
  { flag: 'dataset.return_uint8', off: 'any', reason: VIDEO },
  { flag: 'dataset.depth_output_unit', off: ['mm'], reason: 'depth cameras are not read yet' },
  { flag: 'eval_steps', off: [0], reason: HELD_OUT },
  { flag: 'max_eval_samples', off: 'any', reason: HELD_OUT },
  { flag: 'reward_model.*', off: [], reason: 'reward models are not available; train a policy' },
  { flag: 'wandb.enable', off: [false], reason: WANDB },
  { flag: 'wandb.*', off: 'any', reason: 'Weights & Biases is off' },
  { flag: 'ema.enable', off: [false], reason: 'averaged weights are not available yet' },
  { flag: 'ema.*', off: 'any', reason: 'averaged weights are off' },
  { flag: 'job.target', off: ['local'], reason: 'jobs run on this machine only' },
  { flag: 'job.*', off: 'any', reason: 'jobs run on this machine only' },
  { flag: 'parallelism.dp_replicate', off: [1], reason: SHARDED },
  { flag: 'parallelism.dp_shard', off: [1, -1], reason: SHARDED },
  { flag: 'parallelism.*', off: [1], reason: SHARDED },
  { flag: 'accelerator.mixed_precision', off: ['no'], reason: 'mixed precision is not available yet' },
  { flag: 'accelerator.*', off: 'any', reason: SHARDED },
  { flag: 'sample_weighting.*', off: [], reason: 'sample weighting is not available' },
  { flag: 'use_rabc', off: [false], reason: 'sample weighting is not available' },
  { flag: 'checkpoint_format', off: ['safetensors'], reason: 'checkpoints are written as safetensors' },
  { flag: 'save_checkpoint_to_hub', off: [false], reason: HUB },
  { flag: 'checkpoint_path', off: 'any', reason: 'it follows from --resume' },
  { flag: 'cudnn_deterministic', off: [false], reason: 'choosing cuDNN algorithms is not available yet' },
  { flag: 'prefetch_factor', off: 'any', reason: LOADER },
  { flag: 'persistent_workers', off: 'any', reason: LOADER },
  { flag: 'dataloader_multiprocessing_context', off: 'any', reason: LOADER },
];

/** Flags for evaluation during training, when there is no environment to evaluate in. */
export const ENVIRONMENT_FLAGS_NOT_YET: readonly NotYet[] = [
  { flag: 'env.*', off: [], reason: ROLLOUT },
  { flag: 'env_eval_freq', off: 'any', reason: ROLLOUT },
  { flag: 'eval_freq', off: 'any', reason: ROLLOUT },
  { flag: 'eval.*', off: 'any', reason: ROLLOUT },
];

/** The entry that governs a dotted name, or null. */
export function findNotYet(name: string, list: readonly NotYet[]): NotYet | null {
  const matches = ({ flag }: NotYet) =>
    flag.endsWith('.*') ? name === flag.slice(0, -2) || name.startsWith(flag.slice(0, -1)) : name === flag;
  return list.find(matches) ?? null;
}

/**
 * Takes the flags of `list` out of a plain configuration.
 *
 * @returns a copy without them, one line per reason for those that are ignored, and a problem for each that is refused.
 */
export function removeNotYet(
  plain: PlainObject,
  list: readonly NotYet[],
): { plain: PlainObject; ignored: string[]; problems: Problem[] } {
  const rest = structuredClone(plain);
  const without = new Map<string, string[]>();
  const problems: Problem[] = [];
  for (const [name, value] of leaves(plain, '')) {
    const rule = findNotYet(name, list);
    if (rule === null) continue;
    const off = value === null || (rule.off !== 'any' && rule.off.includes(value));
    if (!off && rule.off !== 'any') {
      const allowed = [...rule.off, null].map(showValue).join(' or ');
      problems.push({ field: name, found: value, message: `${rule.reason} (expected ${allowed})` });
    } else if (!off) {
      without.set(rule.reason, [...(without.get(rule.reason) ?? []), `${name}=${showValue(value)}`]);
    }
    if (!(off && rule.keep)) deletePath(rest, name);
  }
  dropEmptied(rest, plain);
  const ignored = [...without].map(([reason, names]) => `${names.join(' ')} (${reason})`);
  return { plain: rest, ignored, problems };
}

/** Every dotted name with its value; empty objects count as null. */
function* leaves(value: PlainObject, prefix: string): Generator<[string, unknown]> {
  for (const [key, child] of Object.entries(value)) {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (!isPlainObject(child)) yield [name, child];
    else if (Object.keys(child).length === 0) yield [name, null];
    else yield* leaves(child, name);
  }
}

/** Removes objects that only held removed fields, so that `wandb: {}` is not left behind. */
function dropEmptied(rest: PlainObject, original: PlainObject): void {
  for (const [key, child] of Object.entries(rest)) {
    const before = original[key];
    if (!isPlainObject(child) || !isPlainObject(before)) continue;
    dropEmptied(child, before);
    if (Object.keys(child).length === 0 && Object.keys(before).length > 0) delete rest[key];
  }
}
