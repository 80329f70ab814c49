import type { RepoId } from '@huggingface/hub';
import { checkRepoId, checkToken, hubEndpoint, hubOffline, hubToken } from './environment.js';
import { explainHubError } from './errors.js';
import { hubFetch, patience, type RetryOptions } from './http.js';

/** How to reach the Hub; omitted options come from the environment, as in Python's `huggingface_hub`. */
export interface HubOptions {
  /** Access token. Default: `HF_TOKEN`, else the file of `hf auth login`. */
  token?: string;
  /** The Hub's address. Default: `HF_ENDPOINT`, else https://huggingface.co. */
  hubUrl?: string;
  /** Never use the network. Default: `HF_HUB_OFFLINE`. */
  offline?: boolean;
  /** Retries after transient failures. */
  retry?: RetryOptions;
}

/** One repository on one Hub, with everything that the client's calls need. */
export interface HubSession {
  readonly repo: RepoId & { type: 'dataset' | 'model' };
  readonly hubUrl: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  readonly retry: Required<RetryOptions>;
  readonly fetch: typeof fetch;
}

/** @throws CraftError `HUB_REPO_ID`, `HUB_TOKEN` */
export function openSession(repoId: string, type: 'dataset' | 'model', options: HubOptions): HubSession {
  checkRepoId(repoId);
  const offline = options.offline ?? hubOffline();
  const token =
    options.token === undefined ? (offline ? undefined : hubToken()) : checkToken(options.token, 'token');
  const retry = { ...patience, ...options.retry };
  return {
    repo: { type, name: repoId },
    hubUrl: options.hubUrl?.replace(/\/+$/, '') ?? hubEndpoint(),
    token,
    offline,
    retry,
    fetch: hubFetch(retry),
  };
}

/** The parameters that all of the client's calls share. */
export function clientParams(session: HubSession) {
  const { repo, hubUrl, fetch, token } = session;
  return { repo, hubUrl, fetch, ...(token === undefined ? {} : { accessToken: token }) };
}

/** The URL of a file's content. */
export function resolveUrl(session: HubSession, commit: string, path: string): string {
  const { repo, hubUrl } = session;
  const parts = path.split('/').map(encodeURIComponent).join('/');
  return `${hubUrl}/${repo.type === 'dataset' ? 'datasets/' : ''}${repo.name}/resolve/${commit}/${parts}`;
}

/** Headers of a request made without the client. */
export function authorization(session: HubSession): Record<string, string> {
  return session.token === undefined ? {} : { Authorization: `Bearer ${session.token}` };
}

/** Runs calls to the Hub; their failures become one-line CraftErrors. */
export async function asking<T>(session: HubSession, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw explainHubError(error, session);
  }
}
