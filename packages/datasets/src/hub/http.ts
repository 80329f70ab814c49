import { setTimeout as sleep } from 'node:timers/promises';
import { HubConnectionError, HubStatusError, networkReason } from './errors.js';

/** How often and how fast a request is retried after a transient failure. */
export interface RetryOptions {
  /** Total number of attempts. Default 4. */
  tries?: number;
  /** Milliseconds before the first retry, doubled each time. Default 500. */
  delayMs?: number;
  /** Milliseconds without a response, or without another byte of it, after which a download request counts as failed. Default 30000. */
  timeoutMs?: number;
}

/** The defaults of {@link RetryOptions}. */
export const patience: Required<RetryOptions> = { tries: 4, delayMs: 500, timeoutMs: 30_000 };

/** Statuses of transient failures. */
const PASSING = [408, 429, 500, 502, 503, 504];
const MAX_WAIT_MS = 30_000;

/**
 * The `fetch` given to the Hub client: retries what may be retried, gives up on a silent server, and turns every refusal into an error that
 * keeps the Hub's own reason (the client's errors lose the header that says whether the repository, the revision or the file is missing).
 *
 * undici's RetryAgent would replace little of this: it resumes a body within one request, at the storage URL, which has expired by the time
 * a long download is cut off, and it counts retries regardless of progress. Resuming a file from an earlier run, and the errors above,
 * would still be ours.
 *
 * @throws HubStatusError, HubConnectionError
 */
export function hubFetch(options: RetryOptions = {}): typeof fetch {
  const { tries, delayMs, timeoutMs } = { ...patience, ...options };
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const method = init?.method ?? 'GET';
    for (let attempt = 1; ; attempt++) {
      let wait = delayMs * 2 ** (attempt - 1);
      try {
        const response = await once(url, init, mayTimeOut(method, url) ? timeoutMs : undefined);
        if (response.ok) return response;
        const error = await refusal(url, response);
        if (attempt >= tries || !mayRepeat(method, url, response.status)) throw error;
        const seconds = Number(response.headers.get('Retry-After'));
        if (seconds > 0) wait = Math.min(seconds * 1000, MAX_WAIT_MS);
      } catch (error) {
        if (!(error instanceof HubConnectionError)) throw error;
        if (attempt >= tries || !mayRepeat(method, url, undefined)) throw error;
      }
      await sleep(wait);
    }
  };
}

async function once(url: string, init: RequestInit | undefined, timeoutMs?: number): Promise<Response> {
  const silence = new AbortController();
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => silence.abort(), timeoutMs);
  const signals = [silence.signal, ...(init?.signal ? [init.signal] : [])];
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) });
    if (!isInterface(url)) return response;
    // Read here, so that a truncated response is retried like any other failure.
    const { status, headers } = response;
    const body = await response.arrayBuffer();
    return new Response(body.byteLength === 0 ? null : body, { status, headers });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    const reason = silence.signal.aborted ? `no answer within ${timeoutMs! / 1000} s` : networkReason(error);
    throw new HubConnectionError(url, reason, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Idempotent requests may be retried after the connection was lost midway; any request may be retried after "try later". */
function mayRepeat(method: string, url: string, status: number | undefined): boolean {
  if (status !== undefined) return PASSING.includes(status) && (status === 429 || isIdempotent(method, url));
  return isIdempotent(method, url);
}

function isIdempotent(method: string, url: string): boolean {
  return method !== 'POST' || /\/(paths-info|preupload|objects\/batch)(\/|$)/.test(new URL(url).pathname);
}

/** An upload may take a while before the Hub answers. */
function mayTimeOut(method: string, url: string): boolean {
  return method !== 'PUT' && isIdempotent(method, url);
}

/** Whether the response is a short one from the Hub's API, rather than a file's content. */
function isInterface(url: string): boolean {
  return /^\/api\/|\.git\/info\/lfs\//.test(new URL(url).pathname);
}

async function refusal(url: string, response: Response): Promise<HubStatusError> {
  const text = await response.text().catch(() => '');
  let detail = response.headers.get('X-Error-Message') ?? '';
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === 'string') detail = error;
  } catch {
    // An HTML page: the status says as much.
  }
  const code = response.headers.get('X-Error-Code') ?? undefined;
  return new HubStatusError(url, response.status, code, detail.split('\n')[0]!.slice(0, 300));
}
