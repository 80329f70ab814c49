import { createHash, randomBytes } from 'node:crypto';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Files = Map<string, Buffer>;

export interface Repo {
  private: boolean;
  gated: boolean;
  commits: Map<string, Files>;
  /** Branches and tags, by name. */
  refs: Map<string, string>;
}

/** Paths that the Hub keeps apart from git. */
export const LFS = /\.(parquet|mp4|safetensors)$/;

export interface Call {
  method: string;
  path: string;
  url: URL;
  range: string | undefined;
  response: ServerResponse;
  body: Buffer;
  token: string | undefined;
}

export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly errorCode: string | undefined,
    message: string,
  ) {
    super(message);
  }

  send(response: ServerResponse): void {
    if (this.errorCode !== undefined) response.setHeader('X-Error-Code', this.errorCode);
    response.setHeader('X-Error-Message', this.message);
    response.writeHead(this.status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ error: this.message }));
  }
}

export function commitOf(repo: Repo, revision: string): string {
  const commit = repo.refs.get(revision) ?? revision;
  if (!repo.commits.has(commit)) throw new Refusal(404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  return commit;
}

export function preupload(call: Call): void {
  const { files } = JSON.parse(String(call.body)) as { files: { path: string }[] };
  json(call, {
    files: files.map(({ path }) => ({ path, uploadMode: LFS.test(path) ? 'lfs' : 'regular' })),
  });
}

export function tag(call: Call, repo: Repo, name: string): void {
  if (call.method === 'DELETE') {
    if (!repo.refs.delete(name)) throw new Refusal(404, 'RevisionNotFound', 'Tag not found');
  } else {
    const { tag: created } = JSON.parse(String(call.body)) as { tag: string };
    if (repo.refs.has(created)) throw new Refusal(409, undefined, 'Tag exists already');
    repo.refs.set(created, commitOf(repo, name));
  }
  call.response.end();
}

export function branch(call: Call, repo: Repo, name: string): void {
  if (repo.refs.has(name)) throw new Refusal(409, undefined, 'Reference already exists');
  repo.refs.set(name, commitOf(repo, 'main'));
  call.response.end();
}

export function json({ response }: Call, value: unknown): void {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(value));
}

export function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export function hash(algorithm: string, content: Buffer | string): string {
  return createHash(algorithm).update(content).digest('hex');
}

export function gitHash(content: Buffer | string): string {
  return hash(
    'sha1',
    Buffer.concat([Buffer.from(`blob ${Buffer.byteLength(content)}\0`), Buffer.from(content)]),
  );
}

export function newCommit(): string {
  return randomBytes(20).toString('hex');
}
