/** Invalid JSON; the message does not name the file. */
export class JsonError extends Error {}

// Braces, strings (keys where a colon follows) and numbers: in a text that JSON.parse accepts, nothing else can look like them.
const TOKEN = /[{}]|("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\d[\d.eE+-]*/g;
const PLAIN_SIZE = /^(0|[1-9]\d*)$/;

/**
 * `JSON.parse` that also refuses what the built-in silently accepts: a key that occurs twice in an object (there the last one wins; the
 * safetensors format forbids it) and half a surrogate pair, which has no UTF-8 form.
 *
 * @param sizes whether whole numbers must be written as such: `1e3` and `1.0` are then refused. Default false
 * @throws JsonError
 */
export function parseStrictJson(text: string, sizes = false): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new JsonError((error as Error).message.replace(/\s/g, ' '));
  }
  const open: Set<string>[] = [];
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (string !== undefined) {
      const name = string.includes('\\') ? (JSON.parse(string) as string) : string.slice(1, -1);
      if (hasLoneSurrogate(name)) throw new JsonError('half a surrogate pair in a string');
      if (colon === undefined) continue;
      const keys = open.at(-1) as Set<string>;
      if (keys.has(name)) throw new JsonError(`the key ${quote(name)} occurs twice`);
      keys.add(name);
    } else if (sizes && token[0] !== '-' && Number.isSafeInteger(Number(token)) && !PLAIN_SIZE.test(token)) {
      throw new JsonError(`the number ${token.slice(0, 40)} is not written as a whole one`);
    }
  }
  return value;
}

/** Whether a JSON value is an object (not an array or null). */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

/** A name for a one-line message: quoted, control characters escaped, shortened when very long. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name);
}
