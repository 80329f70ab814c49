import { CraftError } from '@craft-ft/torch/errors';
import { tokenizerCacheFolder } from './environment.js';
import { repoName } from './explain.js';
import { type DownloadModelOptions, downloadModelFiles } from './model-files.js';
import { listFolder, type RemoteFile } from './remote.js';
import type { HubSession } from './session.js';

const TOKENIZER_FILE =
  /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|processor_config|metadata)\.json$/;

/**
 * Brings the tokeniser of a repository of the Hugging Face Hub to this machine: `tokenizer.json` and what belongs to it, not the
 * weights beside it. By default it lies in {@link tokenizerCacheFolder}.
 *
 * @param repoId `user/name`, such as `google/paligemma-3b-pt-224`, whose licence has to be accepted on its page first
 * @returns the folder, absolute
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
