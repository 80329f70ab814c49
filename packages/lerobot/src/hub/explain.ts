import { CraftError } from '@craft-ft/torch/errors';
import { tokenPage } from './environment.js';
import { HubConnectionError, HubStatusError } from './http.js';
import type { HubSession } from './session.js';

/** The part of a session that messages speak of. */
type Asked = Pick<HubSession, 'repo' | 'hubUrl' | 'token'>;

/**
 * An error of the Hub or of the way there, as one line that says what to do:
 * `HUB_NOT_FOUND`, `HUB_REVISION`, `HUB_FILE_MISSING`, `HUB_TOKEN`, `HUB_UNREACHABLE`, `HUB_REFUSED`. Other errors pass unchanged.
 */
export function explainHubError(error: unknown, asked: Asked): unknown {
  if (error instanceof HubConnectionError) {
    const message =
      `${asked.hubUrl}: cannot be reached: ${error.reason}; check the network, or set HF_ENDPOINT to a mirror, ` +
      'or HF_HUB_OFFLINE=1 to use only what is on this machine';
    return new CraftError('HUB_UNREACHABLE', message, { cause: error });
  }
  if (!(error instanceof HubStatusError)) return error;
  const [code, message] = explainStatus(error, asked);
  return new CraftError(code, `${repoName(asked)}: ${message}`, { cause: error });
}

/** The words for a repository in messages. */
export function repoName({ repo, hubUrl }: Asked): string {
  return `${repo.type} ${repo.name} on ${hubUrl}`;
}

/** Whether the Hub says that the repository exists and the revision does not. */
export function isRevisionMissing(error: unknown): boolean {
  if (!(error instanceof HubStatusError) || error.status !== 404) return false;
  return error.errorCode === undefined
    ? /revision|rev id/i.test(error.detail)
    : error.errorCode === 'RevisionNotFound';
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
  if (status === 404 && errorCode === 'EntryNotFound') return ['HUB_FILE_MISSING', `no such file: ${error.url}`];
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
    return ['HUB_UNREACHABLE', `the Hub cannot answer now (${said}); what was fetched is kept, try again later`];
  }
  return ['HUB_REFUSED', `the Hub refused the request (${said}): ${error.url}`];
}
