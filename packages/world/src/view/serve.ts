import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { INSTRUCTIONS, TABLETOP_TASKS, type TabletopTask } from '../names.js';
import { type Assets, CONTENT_SECURITY_POLICY, PAGE_HTML, pageAssets } from './page.js';
import { type EpisodeRequest, requireViewer, type ViewSetup, type ViewSource } from './view-episode.js';

/** Options of {@link serveView}. */
export interface ViewOptions {
  /** Where episodes can come from; the first is shown first. */
  sources: readonly ViewSource[];
  /** Shown first. Default place-in-red-bin, seed 0, episode 0. */
  first?: Partial<EpisodeRequest>;
  /** Default 0: any free port. */
  port?: number;
  /** Files of the page. Default those of this package. */
  assets?: Assets;
}

/** A page that is being served. */
export interface ViewServer {
  readonly url: string;
  readonly port: number;
  /** Stops the server, and closes the sources once they have finished what they are doing. */
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = { '.js': 'text/javascript', '.wasm': 'application/wasm' };
const HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

/**
 * Serves the viewer's page to this machine only.
 *
 * @throws CraftError `VIEW_PORT` if the port is not available, `VIEW_PAGE`
 *
 * @example
 * ```ts
 * const server = await serveView({ sources: [expertSource()], first: { task: 'stack' } });
 * console.log(server.url); // http://127.0.0.1:41237/
 * ```
 */
export async function serveView(options: ViewOptions): Promise<ViewServer> {
  const { first, assets = pageAssets() } = options;
  const sources = options.sources.map(inTurn);
  const routes = makeRoutes(sources, {
    sources: sources.map(({ name, label, episodes }) => ({ name, label, episodes })),
    tasks: TABLETOP_TASKS.map((name) => ({ name, instruction: INSTRUCTIONS[name] })),
    first: { task: 'place-in-red-bin', seed: 0, episode: 0, source: sources[0]!.name, ...first },
  });
  const server = createServer((request, response) => {
    answer(request, response, routes, assets).catch((error: unknown) => refuse(response, error));
  });
  const port = await listen(server, options.port ?? 0);
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    close: async () => {
      await closeServer(server);
      for (const source of sources) await source.close();
    },
  };
}

type Route = (query: URLSearchParams, response: ServerResponse, signal: AbortSignal) => Promise<void> | void;

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Readonly<Record<string, Route>>,
  assets: Assets,
): Promise<void> {
  // Another host name means DNS rebinding: a page elsewhere pointed its own name here.
  const host = (request.headers.host ?? '').replace(/:\d+$/, '');
  if (host !== '127.0.0.1' && host !== 'localhost') return send(response, 403, 'only for this machine\n');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return send(response, 405, 'only GET\n');
  }
  // Never parsed as a path on the disk: it is a key, here or in the list of files.
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  if (Object.hasOwn(routes, path)) {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    return routes[path]!(new URLSearchParams(query), response, gone.signal);
  }
  const file = assets.get(path);
  if (file === undefined) return send(response, 404, 'not found\n');
  response.writeHead(200, { ...HEADERS, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
  if (request.method === 'HEAD') response.end();
  else
    createReadStream(file)
      .on('error', () => response.destroy())
      .pipe(response);
}

function makeRoutes(sources: readonly ViewSource[], setup: ViewSetup): Readonly<Record<string, Route>> {
  const sourceOf = (query: URLSearchParams): ViewSource => {
    const names = sources.map(({ name }) => name);
    const name = wordOf(query, 'source', names);
    return sources.find((source) => source.name === name)!;
  };
  return {
    '/': (_, response) => send(response, 200, PAGE_HTML, 'text/html; charset=utf-8'),
    '/api/setup': (_, response) => send(response, 200, JSON.stringify(setup), 'application/json'),
    '/api/episode': async (query, response, signal) => {
      const source = sourceOf(query);
      const request: EpisodeRequest =
        source.episodes === null
          ? {
              task: wordOf(query, 'task', TABLETOP_TASKS) as TabletopTask,
              seed: wholeNumber(query, 'seed'),
              episode: 0,
            }
          : { ...setup.first, episode: wholeNumber(query, 'episode') };
      send(response, 200, JSON.stringify(await source.load(request, signal)), 'application/json');
    },
    '/api/picture': async (query, response) => {
      const source = sourceOf(query);
      const [episode, frame] = [wholeNumber(query, 'episode'), wholeNumber(query, 'frame')];
      const picture = await source.picture?.(episode, frame, query.get('camera') ?? '');
      if (picture === undefined) return send(response, 404, 'not found\n');
      const { rgb, width, height } = picture;
      response.writeHead(200, { ...HEADERS, 'x-width': width, 'x-height': height });
      response.end(rgb);
    },
  };
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { ...HEADERS, 'content-type': type });
  response.end(body);
}

/** The page shows the reason in one line. An unexpected error is a bug, and is rethrown. */
function refuse(response: ServerResponse, error: unknown): void {
  const foreseen = error instanceof CraftError;
  const status = error instanceof BadQuery ? 400 : foreseen ? 422 : 500;
  if (response.headersSent) response.destroy();
  else send(response, status, `${error instanceof Error ? error.message : String(error)}\n`);
  if (!foreseen) throw error;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use',
  EACCES: 'is not allowed to this user',
};

/** Listens on the loopback address, and resolves to the port. @throws CraftError `VIEW_PORT` */
function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = REASONS[error.code ?? ''] ?? `cannot be had: ${error.message}`;
      const message = `port ${port} ${reason}; choose another, or leave --port out for a free one`;
      reject(new CraftError('VIEW_PORT', message, { cause: error }));
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Closes the server at once, including open connections. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** A request that the page would not make. */
class BadQuery extends CraftError {
  constructor(name: string, found: string | null, expected: string) {
    super('VIEW_QUERY', `${name}: found ${JSON.stringify(found)}, expected ${expected}`);
    this.name = 'BadQuery';
  }
}

/** A number of a query, 0, 1, 2, … @throws BadQuery */
function wholeNumber(query: URLSearchParams, name: string): number {
  const text = query.get(name);
  const number = Number(text);
  if (text !== null && /^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new BadQuery(name, text, 'a whole number from 0 on');
}

/** One of some words. @throws BadQuery */
function wordOf(query: URLSearchParams, name: string, words: readonly string[]): string {
  const text = query.get(name);
  if (text !== null && words.includes(text)) return text;
  throw new BadQuery(name, text, `one of ${words.join(', ')}`);
}

/**
 * The same source, handling one call at a time, in order: closing it waits for the call in progress. An episode that nobody waits for any
 * more when its turn comes is skipped.
 */
export function inTurn(source: ViewSource): ViewSource {
  let turn: Promise<unknown> = Promise.resolve();
  const queued = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };
  const { name, label, episodes } = source;
  return {
    name,
    label,
    episodes,
    load: (request, signal) =>
      queued(async () => {
        requireViewer(signal);
        return source.load(request, signal);
      }),
    ...(source.picture === undefined
      ? {}
      : { picture: (episode, frame, camera) => queued(() => source.picture!(episode, frame, camera)) }),
    close: () => queued(() => source.close()),
  };
}
