import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';

/** The folder of Hugging Face's caches and token: `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`. */
function hfHome(): string {
  const caches = folderVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  return folderVariable('HF_HOME') ?? join(caches, 'huggingface');
}

/** Where LeRobot keeps a dataset: `$HF_LEROBOT_HOME/<repoId>`, by default `$HF_HOME/lerobot/<repoId>`. */
export function datasetCacheFolder(repoId: string): string {
  return join(folderVariable('HF_LEROBOT_HOME') ?? join(hfHome(), 'lerobot'), ...repoId.split('/'));
}

/** Where {@link downloadPolicy} keeps a policy: `$HF_HOME/craft/policies/<repoId>`, with `@<revision>` if one was requested. */
export function policyCacheFolder(repoId: string, revision?: string): string {
  return modelCacheFolder('policies', repoId, revision);
}

/** Where {@link downloadTokenizer} keeps a tokeniser: `$HF_HOME/craft/tokenizers/<repoId>`. */
export function tokenizerCacheFolder(repoId: string, revision?: string): string {
  return modelCacheFolder('tokenizers', repoId, revision);
}

function modelCacheFolder(kind: string, repoId: string, revision: string | undefined): string {
  const suffix = revision === undefined ? '' : `@${revision.replaceAll(/[^\w.-]/g, '-')}`;
  const [user = '', name = ''] = repoId.split('/');
  return join(hfHome(), 'craft', kind, user, name + suffix);
}

/** The Hub's URL without a trailing slash: `HF_ENDPOINT`, by default https://huggingface.co. */
export function hubEndpoint(): string {
  return (variable('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, '');
}

/** Whether `HF_HUB_OFFLINE` forbids the network. */
export function hubOffline(): boolean {
  return /^(1|true|yes|on)$/i.test(variable('HF_HUB_OFFLINE') ?? '');
}

/**
 * The user's token: `HF_TOKEN` (`HUGGING_FACE_HUB_TOKEN`), else the file that `hf auth login` writes (`HF_TOKEN_PATH`, by default
 * `$HF_HOME/token`).
 */
export function hubToken(): string | undefined {
  const given = variable('HF_TOKEN') ?? variable('HUGGING_FACE_HUB_TOKEN');
  if (given !== undefined) return checkToken(given, 'HF_TOKEN');
  const file = folderVariable('HF_TOKEN_PATH') ?? join(hfHome(), 'token');
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
  return text === '' ? undefined : checkToken(text, file);
}

/** @throws CraftError `HUB_TOKEN` if the token does not have the form that the Hub client accepts; never reveals the token. */
export function checkToken(token: string, source: string): string {
  if (/^hf_[\x21-\x7e]+$/.test(token)) return token;
  throw new CraftError(
    'HUB_TOKEN',
    `${source}: not a token of the Hugging Face Hub, which begins with hf_; copy it again from ${tokenPage}`,
  );
}

export const tokenPage = 'https://huggingface.co/settings/tokens';

/** An environment variable; an empty one counts as not set. */
function variable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === '' ? undefined : value;
}

function folderVariable(name: string): string | undefined {
  return variable(name)?.replace(/^~(?=$|[\\/])/, homedir());
}

const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/**
 * Whether a text has the form of a name on the Hugging Face Hub, `user/name`. A relative path with two components has it too, so check for
 * a folder first.
 *
 * @example
 * ```ts
 * looksLikeRepoId('lerobot/pusht'); // true
 * looksLikeRepoId('./lerobot/pusht'); // false
 * ```
 */
export function looksLikeRepoId(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length === 2 &&
    text.length <= 96 &&
    parts.every((part) => PART.test(part)) &&
    !/--|\.\.|\.git$/.test(text)
  );
}

/** @throws CraftError `HUB_REPO_ID` */
export function checkRepoId(repoId: string): void {
  if (looksLikeRepoId(repoId)) return;
  throw new CraftError('HUB_REPO_ID', `"${repoId}" is no name on the Hugging Face Hub; expected user/name`);
}
