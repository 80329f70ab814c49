import { readPolicyConfig } from '@craft-ft/policies/config';
import type { Actor } from '@craft-ft/world';
import type { Output } from './command.js';

/**
 * A policy with its processors, in evaluation mode.
 *
 * @param path a run, a checkpoint or a model folder
 * @param wanted where it runs; null: as its configuration says
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
