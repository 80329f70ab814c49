import { CraftError } from '@craft-ft/torch/errors';
import { FAST_TOKENIZER_FOLDER } from '../policy-folder.js';
import { policyCacheFolder } from './environment.js';
import { repoName } from './explain.js';
import { type DownloadModelOptions, downloadModelFiles } from './model-files.js';
import { listFolder, type RemoteFile } from './remote.js';
import type { HubSession } from './session.js';

export type DownloadPolicyOptions = DownloadModelOptions;

/** Configuration, processors, weights (in shards too), tokenisers. */
const POLICY_FILE = /\.(json|safetensors|model|txt)$/;
const WEIGHTS = /(^|\/)(adapter_)?model(-\d+-of-\d+)?\.safetensors$/;

/**
 * Brings a policy of the Hugging Face Hub to this machine, as {@link downloadDataset} does datasets: the files at the top of the
 * repository, or in its folder `pretrained_model`. By default it lies in {@link policyCacheFolder}.
 *
 * @param repoId `user/name`
 * @returns the folder, absolute, to use like any checkpoint's.
 * @throws CraftError `HUB_NOT_FOUND`, `HUB_TOKEN`, `HUB_REVISION`, `HUB_OFFLINE`, `HUB_UNREACHABLE`, `HUB_CORRUPT`,
 * `HUB_LOCAL_DIFFERS`, `HUB_NOT_A_POLICY`, `HUB_REPO_ID`, `HUB_PATH`, `HUB_REFUSED`, `DISK_FULL`, `WRITE_FAILED`
 */
export async function downloadPolicy(repoId: string, options: DownloadPolicyOptions = {}): Promise<string> {
  const cache = policyCacheFolder(repoId, options.revision);
  return downloadModelFiles({ repoId, cache, choose: policyFiles }, options);
}

async function policyFiles(session: HubSession, commit: string): Promise<RemoteFile[]> {
  for (const folder of ['', 'pretrained_model']) {
    const listed = await listFolder(session, commit, folder);
    // Whole folders but the top are listed with all that lies in them.
    const all =
      folder === '' ? [...listed, ...(await listFolder(session, commit, FAST_TOKENIZER_FOLDER))] : listed;
    const files = all.filter(({ path }) => POLICY_FILE.test(path));
    if (!files.some(({ path }) => /(^|\/)config\.json$/.test(path))) continue;
    if (files.some(({ path }) => WEIGHTS.test(path))) return files;
    throw notAPolicy(session, 'has a config.json and no model.safetensors');
  }
  throw notAPolicy(session, 'has no config.json, at its top or in pretrained_model/');
}

function notAPolicy(session: HubSession, what: string): CraftError {
  return new CraftError('HUB_NOT_A_POLICY', `${repoName(session)}: ${what}; is it a LeRobot policy?`);
}
