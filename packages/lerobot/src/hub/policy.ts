import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { policyCacheFolder } from './environment.js';
import { repoName } from './explain.js';
import { type DownloadProgress, fetchFiles } from './fetch-files.js';
import { removeStale } from './local-files.js';
import { whileLocked } from './lock.js';
import { DownloadRecord } from './record.js';
import { listFolder, localPath, type RemoteFile, resolveRevision } from './remote.js';
import { type HubOptions, type HubSession, openSession } from './session.js';

export interface DownloadPolicyOptions extends HubOptions {
  /** Branch, tag or commit. Default: main. */
  revision?: string;
  /** Folder to put it in. Default: {@link policyCacheFolder}. */
  root?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** Configuration, processors, weights (in shards too), tokenisers. */
const POLICY_FILE = /\.(json|safetensors|model|txt)$/;
const WEIGHTS = /(^|\/)(adapter_)?model(-\d+-of-\d+)?\.safetensors$/;

/**
 * Brings a policy of the Hugging Face Hub to this machine, as {@link downloadDataset} does datasets: the files at the top of the
 * repository, or in its folder `pretrained_model`.
 *
 * @param repoId `user/name`
 * @returns the folder, absolute, to use like any checkpoint's.
 * @throws CraftError `HUB_NOT_FOUND`, `HUB_TOKEN`, `HUB_REVISION`, `HUB_OFFLINE`, `HUB_UNREACHABLE`, `HUB_CORRUPT`,
 * `HUB_LOCAL_DIFFERS`, `HUB_NOT_A_POLICY`, `HUB_REPO_ID`, `HUB_PATH`, `HUB_REFUSED`, `DISK_FULL`, `WRITE_FAILED`
 */
export async function downloadPolicy(repoId: string, options: DownloadPolicyOptions = {}): Promise<string> {
  const session = openSession(repoId, 'model', options);
  const root = resolve(options.root ?? policyCacheFolder(repoId, options.revision));
  if (session.offline) {
    const missing = firstMissing(root);
    if (missing === undefined) return root;
    throw new CraftError(
      'HUB_OFFLINE',
      `${missing}: is not there, and the network is not to be used; unset HF_HUB_OFFLINE to download it`,
    );
  }
  const onWarning = options.onWarning ?? ((message: string) => console.warn(message));
  try {
    await update(session, root, { ...options, onWarning });
  } catch (error) {
    if (!(error instanceof CraftError) || error.code !== 'HUB_UNREACHABLE') throw error;
    if (firstMissing(root) !== undefined) throw error;
    onWarning(`${error.message}; ${root} has all that is needed and is used as it is`);
  }
  return root;
}

async function update(
  session: HubSession,
  root: string,
  options: DownloadPolicyOptions & { onWarning: (message: string) => void },
): Promise<void> {
  const { onWarning, onProgress = () => {} } = options;
  const { revision, commit } = await resolveRevision(session, [options.revision ?? 'main']);
  const files = await policyFiles(session, commit);
  const onWait = (): void => onWarning(`${root}: waiting for another process that downloads into it`);
  await whileLocked(root, onWait, async () => {
    const record = DownloadRecord.open(root);
    record.begin({ repo: session.repo.name, endpoint: session.hubUrl, revision, commit });
    await fetchFiles(session, files, { root, commit, record, onProgress, onWarning });
    // A leftover index of shards would be read as this revision's.
    removeStale(root, record, files, '');
    record.finish();
  });
}

async function policyFiles(session: HubSession, commit: string): Promise<RemoteFile[]> {
  for (const folder of ['', 'pretrained_model']) {
    const files = (await listFolder(session, commit, folder)).filter(({ path }) => POLICY_FILE.test(path));
    if (!files.some(({ path }) => /(^|\/)config\.json$/.test(path))) continue;
    if (files.some(({ path }) => WEIGHTS.test(path))) return files;
    throw notAPolicy(session, 'has a config.json and no model.safetensors');
  }
  throw notAPolicy(session, 'has no config.json, at its top or in pretrained_model/');
}

function notAPolicy(session: HubSession, what: string): CraftError {
  return new CraftError('HUB_NOT_A_POLICY', `${repoName(session)}: ${what}; is it a LeRobot policy?`);
}

/** The first file of a completed download that is gone, or the folder itself when none was completed. */
function firstMissing(root: string): string | undefined {
  const record = DownloadRecord.open(root);
  if (!record.last?.complete) return root;
  return Object.keys(record.files)
    .map((path) => localPath(root, path))
    .find((path) => !existsSync(path));
}
