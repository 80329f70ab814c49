import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import {
  address,
  branch,
  type Call,
  commitOf,
  type Files,
  gitHash,
  hash,
  json,
  LFS,
  newCommit,
  preupload,
  Refusal,
  type Repo,
  tag,
} from './fake-hub-parts.js';

/** One request as it arrived. `path` is decoded and without its query. */
export interface SeenRequest {
  method: string;
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  /** Whether it went to the storage server, another origin than the Hub. */
  storage: boolean;
}

/** What goes wrong with requests for a file's content. */
export interface Fault {
  /** Cut the connection after this many bytes of the answer. */
  cutAfter?: number;
  /** Go silent after this many bytes. */
  stallAfter?: number;
  /** Answer with this status. */
  status?: number;
  /** Flip a byte. */
  corrupt?: boolean;
  /** Send everything, whatever part was asked for. */
  ignoreRange?: boolean;
  /** How many requests it happens to. Default: all. */
  times?: number;
}

/**
 * A server on 127.0.0.1 that speaks as much of the Hugging Face Hub's interface as the official client uses here: repositories with
 * branches, tags and commits, listings in pages, large files behind a redirect to another origin, range requests, uploads.
 */
export class FakeHub {
  readonly requests: SeenRequest[] = [];
  /** Tokens that are known, and what they may do. */
  readonly tokens = new Map<string, 'read' | 'write'>();
  /** By path within the repository. */
  readonly faults = new Map<string, Fault>();
  /** How many of the next answers of the interface to cut in the middle. */
  cutAnswers = 0;
  /** Entries per page of a listing. */
  pageSize = 1000;
  /** Changes an entry of a listing before it is sent. */
  editEntry: (entry: Record<string, unknown>) => void = () => {};
  readonly #repos = new Map<string, Repo>();
  readonly #uploads = new Map<string, Buffer>();
  readonly #hub: Server;
  readonly #storage: Server;

  private constructor() {
    this.#hub = createServer((request, response) => void this.#answer(request, response, false));
    this.#storage = createServer((request, response) => void this.#answer(request, response, true));
  }

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const server of [hub.#hub, hub.#storage]) {
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    }
    hub.url = address(hub.#hub);
    return hub;
  }

  /** The Hub's address; it stays known after the Hub has stopped. */
  url = '';

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  /** @param id `datasets/user/name` or `models/user/name` */
  addRepo(id: string, options: { private?: boolean; gated?: boolean } = {}): void {
    const empty = newCommit();
    this.#repos.set(id, {
      private: options.private ?? false,
      gated: options.gated ?? false,
      commits: new Map([[empty, new Map()]]),
      refs: new Map([['main', empty]]),
    });
  }

  /** Replaces a branch's files with a folder's, as a new commit, which is returned. */
  commitFolder(id: string, folder: string, options: { branch?: string; tag?: string } = {}): string {
    const files: Files = new Map();
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const inside = path.slice(folder.length + 1).replaceAll('\\', '/');
      if (!inside.startsWith('.')) files.set(inside, readFileSync(path));
    }
    return this.commitFiles(id, files, options);
  }

  commitFiles(id: string, files: Files, options: { branch?: string; tag?: string } = {}): string {
    const repo = this.#repos.get(id)!;
    const commit = newCommit();
    repo.commits.set(commit, files);
    repo.refs.set(options.branch ?? 'main', commit);
    if (options.tag !== undefined) repo.refs.set(options.tag, commit);
    return commit;
  }

  files(id: string, revision = 'main'): ReadonlyMap<string, Buffer> {
    const repo = this.#repos.get(id)!;
    return repo.commits.get(repo.refs.get(revision)!)!;
  }

  isPrivate(id: string): boolean {
    return this.#repos.get(id)!.private;
  }

  /** Requests for files' content, as `path` or `path range`, in order. */
  contentRequests(): string[] {
    return this.requests.flatMap(({ path, range, storage }) => {
      const match = /\/resolve\/[^/]+\/(.+)$/.exec(path);
      return match === null || storage ? [] : [range === undefined ? match[1]! : `${match[1]} ${range}`];
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse, storage: boolean): Promise<void> {
    const url = new URL(request.url!, this.url);
    const path = decodeURIComponent(url.pathname);
    const method = request.method!;
    const { authorization, range } = request.headers;
    this.requests.push({ method, path, range, authorization, storage });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const call: Call = {
      method,
      path,
      url,
      range,
      response,
      body: Buffer.concat(chunks),
      token: authorization,
    };
    if (path.startsWith('/api/') && this.cutAnswers-- > 0) {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 1000 });
      response.write('[{"type": ', () => setTimeout(() => response.destroy(), 10));
      return;
    }
    try {
      if (storage) this.#serveStorage(call);
      else this.#route(call)();
    } catch (error) {
      if (error instanceof Refusal) error.send(response);
      else new Refusal(500, 'Broken', String(error)).send(response);
    }
  }

  #route(call: Call): () => void {
    const { method, path } = call;
    const token = call.token?.replace('Bearer ', '');
    if (token !== undefined && !this.tokens.has(token)) {
      throw new Refusal(401, undefined, 'Invalid credentials in Authorization header');
    }
    const may = token === undefined ? undefined : this.tokens.get(token);
    if (path === '/api/whoami-v2') return () => json(call, { type: 'user', name: 'user', auth: {} });
    if (path === '/api/repos/create') return () => this.#create(call, may);
    const lfs = /^\/(datasets\/)?([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path);
    if (lfs !== null) return () => this.#lfsBatch(call);
    const resolve = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    if (resolve !== null) {
      const [, kind = 'models/', name, revision, file] = resolve;
      return () => this.#resolve(call, this.#open(`${kind}${name}`, token), revision!, file!);
    }
    const api = /^\/api\/((?:datasets|models)\/[^/]+\/[^/]+)\/([a-z-]+)(?:\/(.*))?$/.exec(path);
    if (api === null) throw new Refusal(404, undefined, 'Not Found');
    const [, id, action, rest = ''] = api as unknown as [string, string, string, string?];
    const repo = this.#open(id, token);
    if (action === 'revision') {
      const sha = commitOf(repo, rest);
      return () => json(call, { _id: id, id: id.slice(id.indexOf('/') + 1), sha, private: repo.private });
    }
    if (action === 'tree') return () => this.#tree(call, repo, rest);
    if (action === 'paths-info') return () => this.#pathsInfo(call, repo, rest);
    if (method !== 'GET' && may !== 'write') {
      throw new Refusal(403, undefined, 'You need write permission for this');
    }
    if (action === 'preupload') return () => preupload(call);
    if (action === 'commit') return () => this.#commit(call, repo, rest);
    if (action === 'tag') return () => tag(call, repo, rest);
    if (action === 'branch') return () => branch(call, repo, rest);
    throw new Refusal(404, undefined, 'Not Found');
  }

  /** As the Hub does: who may not see a repository learns no more than who asks for one that does not exist. */
  #open(id: string, token: string | undefined): Repo {
    const repo = this.#repos.get(id);
    if (repo === undefined || (repo.private && token === undefined)) {
      if (token === undefined) throw new Refusal(401, 'RepoNotFound', 'Invalid username or password.');
      throw new Refusal(404, 'RepoNotFound', 'Repository not found');
    }
    if (repo.gated) throw new Refusal(token === undefined ? 401 : 403, 'GatedRepo', 'Access is restricted');
    return repo;
  }

  #create(call: Call, may: string | undefined): void {
    const { name, organization, type, visibility } = JSON.parse(String(call.body)) as Record<string, string>;
    if (may !== 'write') throw new Refusal(403, undefined, 'You need write permission for this');
    const id = `${type}s/${organization}/${name}`;
    if (this.#repos.has(id)) throw new Refusal(409, undefined, `You already created this ${type} repo`);
    this.addRepo(id, { private: visibility === 'private' });
    json(call, { url: `${this.url}/${id}`, id });
  }

  #tree(call: Call, repo: Repo, rest: string): void {
    const [revision = '', ...folders] = rest.split('/');
    const folder = folders.join('/');
    const files = repo.commits.get(commitOf(repo, revision))!;
    const below = [...files.keys()].filter((path) => folder === '' || path.startsWith(`${folder}/`));
    if (below.length === 0 && folder !== '')
      throw new Refusal(404, 'EntryNotFound', `${folder} does not exist`);
    const recursive = call.url.searchParams.get('recursive') === 'true';
    const depth = folder === '' ? 1 : folders.length + 1;
    const shown = below.filter((path) => recursive || path.split('/').length === depth).sort();
    const from = Number(call.url.searchParams.get('cursor') ?? 0);
    if (from + this.pageSize < shown.length) {
      call.url.searchParams.set('cursor', String(from + this.pageSize));
      call.response.setHeader('Link', `<${call.url.href}>; rel="next"`);
    }
    json(
      call,
      shown.slice(from, from + this.pageSize).map((path) => this.#entry(path, files.get(path)!)),
    );
  }

  #pathsInfo(call: Call, repo: Repo, revision: string): void {
    const files = repo.commits.get(commitOf(repo, revision))!;
    const { paths } = JSON.parse(String(call.body)) as { paths: string[] };
    json(
      call,
      paths.flatMap((path) => (files.has(path) ? [this.#entry(path, files.get(path)!)] : [])),
    );
  }

  #entry(path: string, content: Buffer): Record<string, unknown> {
    const size = content.length;
    const sha256 = hash('sha256', content);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
    const entry = LFS.test(path)
      ? {
          type: 'file',
          path,
          size,
          oid: gitHash(pointer),
          lfs: { oid: sha256, size, pointerSize: pointer.length },
        }
      : { type: 'file', path, size, oid: gitHash(content) };
    this.editEntry(entry);
    return entry;
  }

  #resolve(call: Call, repo: Repo, revision: string, path: string): void {
    const commit = commitOf(repo, revision);
    const content = repo.commits.get(commit)!.get(path);
    if (content === undefined) throw new Refusal(404, 'EntryNotFound', 'Entry not found');
    call.response.setHeader('X-Repo-Commit', commit);
    if (!LFS.test(path)) {
      call.response.setHeader('ETag', `"${gitHash(content)}"`);
      this.#send(call, path, content);
      return;
    }
    const sha256 = hash('sha256', content);
    this.#uploads.set(sha256, content);
    call.response.setHeader('X-Linked-Etag', `"${sha256}"`);
    call.response.setHeader('X-Linked-Size', content.length);
    const signed = `${address(this.#storage)}/${sha256}?path=${encodeURIComponent(path)}`;
    call.response.writeHead(302, { Location: signed }).end();
  }

  #serveStorage(call: Call): void {
    const oid = call.path.slice(1);
    // Like a bucket's signed addresses, which refuse a second way of identifying oneself.
    if (call.token !== undefined) throw new Refusal(400, undefined, 'Only one auth mechanism allowed');
    if (call.method === 'PUT') {
      if (hash('sha256', call.body) !== oid) throw new Refusal(400, undefined, 'Wrong hash');
      this.#uploads.set(oid, call.body);
      call.response.end();
      return;
    }
    const content = this.#uploads.get(oid);
    if (content === undefined) throw new Refusal(404, undefined, 'NoSuchKey');
    this.#send(call, call.url.searchParams.get('path')!, content);
  }

  #send({ method, range, response }: Call, path: string, whole: Buffer): void {
    const fault = this.#fault(path);
    if (fault.status !== undefined) throw new Refusal(fault.status, undefined, 'Out of order');
    const match = fault.ignoreRange ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
    const start = match === null ? 0 : Number(match[1]);
    const end = match === null || match[2] === '' ? whole.length : Number(match[2]) + 1;
    const content = Buffer.from(whole.subarray(start, end));
    if (fault.corrupt) content[content.length - 1]! ^= 1;
    if (match !== null) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${whole.length}`);
    response.writeHead(match === null ? 200 : 206, { 'Content-Length': content.length });
    if (method === 'HEAD') response.end();
    else if (fault.cutAfter !== undefined) {
      response.write(content.subarray(0, fault.cutAfter), () => setTimeout(() => response.destroy(), 20));
    } else if (fault.stallAfter !== undefined) {
      response.write(content.subarray(0, fault.stallAfter));
    } else {
      response.end(content);
    }
  }

  #fault(path: string): Fault {
    const fault = this.faults.get(path);
    if (fault === undefined || fault.times === 0) return {};
    if (fault.times !== undefined) fault.times--;
    return fault;
  }

  #lfsBatch(call: Call): void {
    const { objects } = JSON.parse(String(call.body)) as { objects: { oid: string; size: number }[] };
    json(call, {
      transfer: 'basic',
      objects: objects.map(({ oid, size }) =>
        this.#uploads.has(oid)
          ? { oid, size }
          : { oid, size, actions: { upload: { href: `${address(this.#storage)}/${oid}` } } },
      ),
    });
  }

  #commit(call: Call, repo: Repo, branchName: string): void {
    const files: Files = new Map(repo.commits.get(commitOf(repo, branchName)));
    for (const line of String(call.body).split('\n')) {
      const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> };
      if (key === 'file') files.set(value.path!, Buffer.from(value.content!, 'base64'));
      if (key === 'lfsFile') {
        const content = this.#uploads.get(value.oid!);
        if (content === undefined) throw new Refusal(400, undefined, `${value.path} was not uploaded`);
        files.set(value.path!, content);
      }
    }
    const oid = newCommit();
    repo.commits.set(oid, files);
    repo.refs.set(branchName, oid);
    json(call, { success: true, commitOid: oid, commitUrl: `${this.url}/commit/${oid}`, hookOutput: '' });
  }
}
