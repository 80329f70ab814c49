import { readFileSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';

export * from './policy-folder.js';

/** A parsed JSON or YAML object: a configuration file or command line before it is validated. */
export type PlainObject = Record<string, unknown>;

export function isPlainObject(value: unknown): value is PlainObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a dotted path, or undefined. */
export function getPath(root: unknown, path: string): unknown {
  let value = root;
  for (const key of path.split('.')) {
    if (!isPlainObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

/** Sets the value at a dotted path; anything in the way that is not an object (including null) is replaced by one. Changes `root`. */
export function setPath(root: PlainObject, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  let target = root;
  for (const key of keys) {
    const next = Object.hasOwn(target, key) ? target[key] : undefined;
    if (isPlainObject(next)) target = next;
    else target = define(target, key, {}) as PlainObject;
  }
  define(target, last, value);
}

/** Removes the value at a dotted path. Changes `root`. */
export function deletePath(root: PlainObject, path: string): void {
  const cut = path.lastIndexOf('.');
  const parent = cut < 0 ? root : getPath(root, path.slice(0, cut));
  if (isPlainObject(parent)) delete parent[path.slice(cut + 1)];
}

/** Assignment that also works for a key named `__proto__`, which must be rejected later, not take effect here. */
function define(target: PlainObject, key: string, value: unknown): unknown {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  return value;
}

/**
 * Reads a JSON file that must hold an object.
 *
 * @throws CraftError `CONFIG_UNREADABLE`
 */
export function readJsonObject(file: string): PlainObject {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CraftError('CONFIG_UNREADABLE', `${file}: ${(error as Error).message}`, { cause: error });
  }
  if (!isPlainObject(value)) throw new CraftError('CONFIG_UNREADABLE', `${file}: expected a JSON object`);
  return value;
}
