import { CraftError } from '@craft-ft/torch/errors';
import { tokenPage } from './environment.js';

/** The Hub answered with a refusal. */
export class HubStatusError extends Error {
  constructor(
    readonly url: string,
    readonly status: number,
    /** The Hub's error code (`RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`), if it gives one. */
    readonly errorCode: string | undefined,
    /** The Hub's message. */
    readonly detail: string,
  ) {
    super(`status ${status}${detail === '' ? '' : `: ${detail}`}`);
    this.name = 'HubStatusError';
  }
}

/** The Hub could not be reached, or stopped answering. */
export class HubConnectionError extends Error {
  constructor(
    readonly url: string,
    /** What happened, in words. */
    readonly reason: string,
    options?: { cause?: unknown },
  ) {
    super(reason, options);
    this.name = 'HubConnectionError';
  }
}

/** What error messages say about a request: the repository, the Hub, and whether there is a token. */
interface Asked {
  readonly repo: { readonly type: string; readonly name: string };
  readonly hubUrl: string;
  readonly token: string | undefined;
}

/**
 * An error of the Hub, or of the connection to it, as one line that says what to do:
 * `HUB_NOT_FOUND`, `HUB_REVISION`, `HUB_FILE_MISSING`, `HUB_TOKEN`, `HUB_UNREACHABLE`, `HUB_REFUSED`. Other errors pass unchanged.
 */
export function explainHubError(error: unknown, asked: Asked): unknown {
  if (error instanceof HubConnectionError) {
    const message =
      `${asked.hubUrl}: cannot be reached: ${error.reason}; check the network, or set HF_ENDPOINT to a mirror, ` +
      `or HF_HUB_OFFLINE=1 to use only what is on this machine${proxyHint()}`;
    return new CraftError('HUB_UNREACHABLE', message, { cause: error });
  }
  const status = error instanceof HubStatusError ? error : clientError(error);
  if (status !== undefined) {
    const [code, message] = explainStatus(status, asked);
    return new CraftError(code, `${repoName(asked)}: ${message}`, { cause: error });
  }
  if (error instanceof SyntaxError) {
    const message = `${asked.hubUrl}: does not answer as the Hugging Face Hub does; check HF_ENDPOINT, or log in to the network`;
    return new CraftError('HUB_REFUSED', message, { cause: error });
  }
  return error;
}

/** The client's own error, which it creates for refusals inside a response. */
function clientError(error: unknown): HubStatusError | undefined {
  if (!(error instanceof Error && 'statusCode' in error && 'url' in error)) return undefined;
  return new HubStatusError(
    String(error.url),
    Number(error.statusCode),
    undefined,
    error.message.split('\n')[0]!,
  );
}

function proxyHint(): string {
  const { HTTPS_PROXY, https_proxy, NODE_USE_ENV_PROXY } = process.env;
  return (HTTPS_PROXY || https_proxy) && !NODE_USE_ENV_PROXY
    ? '; Node.js uses HTTPS_PROXY from version 24 on, with NODE_USE_ENV_PROXY=1'
    : '';
}

/** How messages name a repository. */
export function repoName({ repo, hubUrl }: Asked): string {
  return `${repo.type} ${repo.name} on ${hubUrl}`;
}

/** Whether the Hub says that the repository exists but the revision does not. */
export function isRevisionMissing(error: unknown): boolean {
  if (!(error instanceof HubStatusError) || error.status !== 404) return false;
  return error.errorCode === undefined
    ? /revision|rev id/i.test(error.detail)
    : error.errorCode === 'RevisionNotFound';
}

/** Whether the Hub says that the revision exists but the file or folder does not. */
export function isEntryMissing(error: unknown): boolean {
  return error instanceof HubStatusError && error.status === 404 && error.errorCode === 'EntryNotFound';
}

function explainStatus(error: HubStatusError, { token }: Asked): [code: string, message: string] {
  const { status, errorCode, detail } = error;
  const said = detail === '' ? `status ${status}` : `status ${status}: ${detail}`;
  if (errorCode === 'GatedRepo') {
    const login = token === undefined ? `, then set HF_TOKEN to a token from ${tokenPage}` : '';
    return ['HUB_TOKEN', `access must be asked for: accept its conditions on its page${login}`];
  }
  if (status === 401 && token !== undefined) {
    return ['HUB_TOKEN', `the token is refused (${said}); set HF_TOKEN to a valid one from ${tokenPage}`];
  }
  if (isRevisionMissing(error)) return ['HUB_REVISION', 'there is no such branch, tag or commit'];
  if (isEntryMissing(error)) return ['HUB_FILE_MISSING', `no such file: ${error.url}`];
  if (status === 404 || status === 401) {
    return [
      'HUB_NOT_FOUND',
      token === undefined
        ? `there is none of this name, or it is private: check the name, or set HF_TOKEN to a token from ${tokenPage}`
        : 'there is none of this name, or it is private and the token in HF_TOKEN may not read it',
    ];
  }
  if (status === 403) {
    return ['HUB_TOKEN', `the token lacks permission (${said}); give it access on ${tokenPage}`];
  }
  if (status === 429 || status >= 500) {
    return [
      'HUB_UNREACHABLE',
      `the Hub cannot answer now (${said}); what was fetched is kept, try again later`,
    ];
  }
  return ['HUB_REFUSED', `the Hub refused the request (${said}): ${error.url}`];
}

/** Turns a failed write of `path` into `DISK_FULL` or `WRITE_FAILED`; other errors pass unchanged. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = errnoCode(error);
  if (code === undefined || !(error instanceof Error) || !('syscall' in error)) return error;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? diskFull(`${path}: no space left on the disk; free some and run again, what was fetched is kept`, error)
    : new CraftError('WRITE_FAILED', `${path}: cannot be written: ${error.message.split('\n')[0]}`, {
        cause: error,
      });
}

export function diskFull(message: string, cause?: unknown): CraftError {
  return new CraftError('DISK_FULL', message, { cause });
}

/** The `code` of a failed system or network call (`ENOENT`, `ECONNRESET`, …); undefined for any other error. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^[A-Z_]+$/.test(error.code) ? error.code : undefined;
}

const networkReasons: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved',
  ECONNREFUSED: 'the connection is refused',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  ENETUNREACH: 'there is no network',
  EHOSTUNREACH: 'there is no route to it',
};

/** Why a `fetch` failed, in words. */
export function networkReason(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = errnoCode(at);
    if (code !== undefined) return networkReasons[code] ?? `${at.message.split('\n')[0]} (${code})`;
  }
  return error instanceof Error ? error.message.split('\n')[0]! : String(error);
}
