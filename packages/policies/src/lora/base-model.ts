import { existsSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { downloadPolicy, looksLikeRepoId, policyCacheFolder } from '@craft-ft/datasets';
import { findPolicyDir } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';
import { ADAPTER_CONFIG_FILE, readAdapterConfig } from './adapter-config.js';

/** Whether a policy's folder holds adapters instead of weights of its own. */
export function holdsAdapters(dir: string): boolean {
  return existsSync(join(dir, ADAPTER_CONFIG_FILE)) && !existsSync(join(dir, 'model.safetensors'));
}

/** How adapters name their base: as `user/name` where it came from the Hub, so that they work on another machine too. */
export function portableName(folder: string): string {
  const inCache = relative(join(policyCacheFolder('a/b'), '..', '..'), folder).split(sep);
  const [user, name] = inCache;
  if (user === undefined || user === '..' || name === undefined || name.includes('@')) return folder;
  return `${user}/${name}`;
}

/**
 * The folder of the policy that adapters belong to.
 *
 * @param dir folder with `adapter_config.json`
 * @throws CraftError `LORA_BASE` where it is neither a folder nor downloaded, or holds adapters itself
 */
export function baseFolder(dir: string): string {
  const { baseModel } = readAdapterConfig(dir);
  const folder = [baseModel, ...cached(baseModel)].find((path) => existsSync(path));
  const where = `${join(dir, ADAPTER_CONFIG_FILE)}: base_model_name_or_path=${baseModel}`;
  if (folder === undefined) {
    throw new CraftError(
      'LORA_BASE',
      `${where} is not here; copy it there, or change the field to where it is`,
    );
  }
  const base = findPolicyDir(folder);
  if (!holdsAdapters(base)) return base;
  throw new CraftError(
    'LORA_BASE',
    `${where} holds adapters too; merge them first: craft export --policy.path=${base}`,
  );
}

/** Brings the base of adapters from the Hub where that is where it is; any other folder is left alone. */
export async function fetchBase(dir: string, onWarning?: (line: string) => void): Promise<void> {
  if (!holdsAdapters(dir)) return;
  const { baseModel } = readAdapterConfig(dir);
  if (existsSync(baseModel) || !looksLikeRepoId(baseModel)) return;
  await downloadPolicy(baseModel, onWarning === undefined ? {} : { onWarning });
}

function cached(name: string): string[] {
  return looksLikeRepoId(name) ? [policyCacheFolder(name)] : [];
}
