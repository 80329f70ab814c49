import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { FAST_TOKENIZER_FOLDER } from '../policy-folder.js';
import { policyCacheFolder, tokenizerCacheFolder } from './environment.js';
import { repoName } from './errors.js';
import { type DownloadProgress, fetchFiles } from './fetch-files.js';
import { whileLocked } from './lock.js';
import { DownloadRecord, removeStale } from './record.js';
import { listFolder, localPath, type RemoteFile, resolveRevision } from './remote.js';
import { type HubOptions, type HubSession, openSession } from './session.js';

export interface DownloadModelOptions extends HubOptions {
  /** Branch, tag or commit. Default: main. */
  revision?: string;
  /** Folder to put it in. Default: a folder of its own in the cache. */
  root?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** Which files of a model repository to download, and where to. */
interface ModelFiles {
  repoId: string;
  /** The target folder unless `options.root` is given. */
  cache: string;
  choose(session: HubSession, commit: string): Promise<RemoteFile[]>;
}

/**
 * Downloads selected files of a model repository, as `downloadDataset` does for datasets: only changed files, verified, and usable offline
 * afterwards.
 *
 * @returns the absolute path of the folder.
 */
async function downloadModelFiles(wanted: ModelFiles, options: DownloadModelOptions): Promise<string> {
  const session = openSession(wanted.repoId, 'model', options);
  const root = resolve(options.root ?? wanted.cache);
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
    await update(session, root, wanted, { ...options, onWarning });
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
  wanted: ModelFiles,
  options: DownloadModelOptions & { onWarning: (message: string) => void },
): Promise<void> {
  const { onWarning, onProgress = () => {} } = options;
  const { revision, commit } = await resolveRevision(session, [options.revision ?? 'main']);
  const files = await wanted.choose(session, commit);
  const onWait = (): void => onWarning(`${root}: waiting for another process that downloads into it`);
  await whileLocked(root, onWait, async (signal) => {
    const record = DownloadRecord.open(root);
    record.begin({ repo: session.repo.name, endpoint: session.hubUrl, revision, commit });
    await fetchFiles(session, files, { root, commit, record, onProgress, onWarning, signal });
    // A leftover index of shards would be taken for this revision's.
    removeStale(root, record, files, '');
    record.finish();
  });
}

/** The first missing file of a completed download, or the folder itself if no download was completed. */
function firstMissing(root: string): string | undefined {
  const record = DownloadRecord.open(root);
  if (!record.last?.complete) return root;
  return Object.keys(record.files)
    .map((path) => localPath(root, path))
    .find((path) => !existsSync(path));
}

export type DownloadPolicyOptions = DownloadModelOptions;

/** Configuration, processors, weights (in shards too), tokenisers. */
const POLICY_FILE = /\.(json|safetensors|model|txt)$/;
const WEIGHTS = /(^|\/)(adapter_)?model(-\d+-of-\d+)?\.safetensors$/;

/**
 * Downloads a policy from the Hugging Face Hub, as {@link downloadDataset} does for datasets: the files at the top level of the repository,
 * or in its folder `pretrained_model`. The default location is {@link policyCacheFolder}.
 *
 * @param repoId `user/name`
 * @returns the absolute path of the folder, to be used like a checkpoint's.
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
    // Folders below the top level are listed recursively.
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

const TOKENIZER_FILE =
  /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|processor_config|metadata)\.json$/;

/**
 * Downloads the tokeniser of a repository on the Hugging Face Hub: `tokenizer.json` and what belongs to it, not the weights next to it. The
 * default location is {@link tokenizerCacheFolder}.
 *
 * @param repoId `user/name`, such as `google/paligemma-3b-pt-224`, whose licence has to be accepted on its page first
 * @returns the absolute path of the folder
 * @throws CraftError as {@link downloadPolicy}, `HUB_NOT_A_TOKENIZER` for a repository without `tokenizer.json`
 */
export async function downloadTokenizer(repoId: string, options: DownloadModelOptions = {}): Promise<string> {
  const cache = tokenizerCacheFolder(repoId, options.revision);
  return downloadModelFiles({ repoId, cache, choose: tokenizerFiles }, options);
}

async function tokenizerFiles(session: HubSession, commit: string): Promise<RemoteFile[]> {
  const files = (await listFolder(session, commit, '')).filter(({ path }) => TOKENIZER_FILE.test(path));
  if (files.some(({ path }) => path === 'tokenizer.json')) return files;
  throw new CraftError(
    'HUB_NOT_A_TOKENIZER',
    `${repoName(session)}: has no tokenizer.json at its top; is it a tokenizer (or a model with one)?`,
  );
}
