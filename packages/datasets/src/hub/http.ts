import { setTimeout as sleep } from 'node:timers/promises';
import { HubConnectionError, HubStatusError, networkReason } from './errors.js';

/** How often and how fast a request is repeated after a failure that may pass. */
export interface RetryOptions {
  /** Requests in all. Default 4. */
  tries?: number;
  /** Milliseconds before the first repetition, doubled each time. Default 500. */
  delayMs?: number;
  /** Milliseconds without an answer, or without a byte of it, after which a download's request counts as failed. Default 30000. */
  timeoutMs?: number;
}

/** The defaults of {@link RetryOptions}. */
export const patience: Required<RetryOptions> = { tries: 4, delayMs: 500, timeoutMs: 30_000 };

/** Statuses that may pass. */
const PASSING = [408, 429, 500, 502, 503, 504];
const MAX_WAIT_MS = 30_000;

/**
 * The `fetch` handed to the Hub's client: repeats what may be repeated, gives up on a silent server, and turns every refusal into
 * an error that keeps the Hub's own reason (the client's errors lose the header that says whether the repository, the revision or
 * the file is missing).
 *
 * undici's RetryAgent would replace little of this: it resumes a body within one request, at the storage's address, which has expired
 * by the time a long download is cut, and it counts repetitions however much each of them has brought. Continuing a file of an earlier
 * run, and the errors above, would stay ours in any case.
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
    // Read here, so that an answer cut in the middle is asked for again like any other.
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

/** Requests that change nothing, or the same thing again, may follow a connection lost in the middle; any may follow "try later". */
function mayRepeat(method: string, url: string, status: number | undefined): boolean {
  if (status !== undefined) return PASSING.includes(status) && (status === 429 || isIdempotent(method, url));
  return isIdempotent(method, url);
}

function isIdempotent(method: string, url: string): boolean {
  return method !== 'POST' || /\/(paths-info|preupload|objects\/batch)(\/|$)/.test(new URL(url).pathname);
}

/** An upload may take its time before the Hub answers. */
function mayTimeOut(method: string, url: string): boolean {
  return method !== 'PUT' && isIdempotent(method, url);
}

/** Whether the answer is the Hub's own, and short, rather than a file's content. */
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
