import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findPolicyDir } from '@craft-ft/datasets/json';
import { readPolicyConfig } from '@craft-ft/policies/config';
import type { Actor } from '@craft-ft/world';
import type { Output } from './command.js';
import type { FlagTable } from './flags.js';

const FLAGS = ['--policy.path', '--policy.pretrained_path', '--baseline.path'];

/** Whether a command has a flag that names a policy. */
export function takesPolicy({ fields }: FlagTable): boolean {
  return fields.some(({ path }) => FLAGS.includes(`--${path}`));
}

/**
 * Replaces the name of a policy on the Hub by the folder it is downloaded to, in `--policy.path=user/name` (or `--policy.pretrained_path`,
 * the weights of a new policy) or the same as two words, unless such a folder exists here. For a LoRA adapter, its base policy is
 * downloaded too.
 */
export async function withLocalPolicy(argv: readonly string[], output: Output): Promise<string[]> {
  const words = [...argv];
  for (let i = 0; i < words.length; i++) {
    const flag = FLAGS.find((name) => words[i]!.startsWith(`${name}=`) || words[i - 1] === name);
    if (flag === undefined) continue;
    const inOne = words[i]!.startsWith(`${flag}=`);
    const folder = await localPolicy(inOne ? words[i]!.slice(flag.length + 1) : words[i]!, output);
    words[i] = inOne ? `${flag}=${folder}` : folder;
  }
  return words;
}

async function localPolicy(path: string, output: Output): Promise<string> {
  const onWarning = (line: string) => output.err(`craft: warning: ${line}\n`);
  const here = existsSync(path);
  if (here ? !holdsAdapter(path) : !/^[\w.-]+\/[\w.-]+$/.test(path)) return path;
  const { downloadPolicy, looksLikeRepoId } = await import('@craft-ft/datasets');
  const { fetchBase } = await import('@craft-ft/policies');
  if (!here && !looksLikeRepoId(path)) return path;
  if (!here) output.err(`craft: fetching ${path} from the Hugging Face Hub\n`);
  const folder = here ? path : await downloadPolicy(path, { onWarning });
  if (holdsAdapter(folder)) await fetchBase(findPolicyDir(folder), onWarning);
  return folder;
}

/** Checked before libtorch is loaded, so that mistakes on the command line are reported at once. */
function holdsAdapter(path: string): boolean {
  try {
    return existsSync(join(findPolicyDir(path), 'adapter_config.json'));
  } catch {
    return false;
  }
}

/**
 * A policy with its processors, in evaluation mode.
 *
 * @param path a run, a checkpoint or a model folder
 * @param wanted device to run on; null: the one in its configuration
 */
export async function loadActor(path: string, wanted: string | null, output: Output): Promise<Actor> {
  const { fetchPolicyTokenizers, loadPolicy, loadProcessors, resolveDevice } = await import(
    '@craft-ft/policies'
  );
  const { dir, config } = readPolicyConfig(path);
  const device = resolveDevice(wanted ?? config.device);
  await fetchPolicyTokenizers(config, (line) => output.err(`craft: warning: ${line}\n`));
  const policy = loadPolicy(dir, config).to({ device });
  const processors = loadProcessors(dir, config, { device });
  processors.follow(policy);
  return { policy: policy.eval(), processors };
}
