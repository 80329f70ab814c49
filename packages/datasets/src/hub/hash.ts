import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { RemoteFile } from './remote.js';

/**
 * Whether a local file, of the right size already, has the Hub's content. Git puts a header with the size before a small file's
 * bytes.
 */
export async function hasContent(path: string, { algorithm, size, hash }: RemoteFile): Promise<boolean> {
  const hasher = algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
    hasher.update(chunk as Buffer);
  return hasher.digest('hex') === hash;
}
