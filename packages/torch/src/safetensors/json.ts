/** A number as it was written. Sizes need its exact digits: `1e3`, `1.0` and 2^53 + 1 must not pass for integers. */
export class JsonNumber {
  constructor(readonly text: string) {}

  /** The value when this was written as a plain non-negative integer of at most 2^53 - 1. */
  toSize(): number | undefined {
    if (!/^(0|[1-9]\d{0,15})$/.test(this.text)) return undefined;
    const value = Number(this.text);
    return Number.isSafeInteger(value) ? value : undefined;
  }
}

export type JsonObject = Map<string, JsonValue>;
export type JsonValue = null | boolean | string | JsonNumber | JsonValue[] | JsonObject;

/** Bad JSON; the message says what and where, but not in which file. */
export class JsonError extends Error {}

/** Far above what any header or index needs, far below what would overflow the stack. */
const MAX_DEPTH = 32;

/**
 * Parses JSON (RFC 8259) with nothing lost: objects are maps in file order, numbers keep their digits.
 *
 * Unlike `JSON.parse` it refuses a key that occurs twice in an object (there the last one silently wins) and strings with half
 * a surrogate pair (they have no UTF-8 form).
 *
 * @throws JsonError
 */
export function parseStrictJson(text: string): JsonValue {
  const parser = new Parser(text);
  return parser.document();
}

const blank = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** A run of characters that stand for themselves: no quote, backslash or control character. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in strings
const plain = /[^"\\\u0000-\u001f]*/y;
const unicodeEscape = /u([0-9a-fA-F]{4})/y;
const loneSurrogate = /\p{Surrogate}/u;

const simpleEscapes: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): JsonValue {
    const value = this.value(0);
    this.skipBlank();
    if (this.at < this.text.length) this.fail('text after the end of the document');
    return value;
  }

  private value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) this.fail('nested too deeply');
    this.skipBlank();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  private object(depth: number): JsonObject {
    const result: JsonObject = new Map();
    this.at++;
    if (this.take('}')) return result;
    do {
      this.skipBlank();
      if (this.text[this.at] !== '"') this.fail('a key in double quotes was expected');
      const key = this.string();
      if (result.has(key)) this.fail(`the key ${quote(key)} occurs twice`);
      if (!this.take(':')) this.fail(`":" was expected after the key ${quote(key)}`);
      result.set(key, this.value(depth + 1));
    } while (this.take(','));
    if (!this.take('}')) this.fail('"," or "}" was expected');
    return result;
  }

  private array(depth: number): JsonValue[] {
    const result: JsonValue[] = [];
    this.at++;
    if (this.take(']')) return result;
    do result.push(this.value(depth + 1));
    while (this.take(','));
    if (!this.take(']')) this.fail('"," or "]" was expected');
    return result;
  }

  private string(): string {
    this.at++;
    let result = '';
    for (;;) {
      result += this.match(plain)?.[0] ?? '';
      const next = this.text[this.at];
      if (next === '"') break;
      if (next !== '\\')
        this.fail(next === undefined ? 'a string does not end' : 'a control character in a string');
      this.at++;
      result += this.escape();
    }
    this.at++;
    if (loneSurrogate.test(result)) this.fail('half a surrogate pair in a string');
    return result;
  }

  private escape(): string {
    const simple = simpleEscapes.get(this.text[this.at] ?? '');
    if (simple !== undefined) {
      this.at++;
      return simple;
    }
    const digits = this.match(unicodeEscape)?.[1];
    if (digits === undefined) this.fail('an unknown escape in a string');
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  private number(): JsonNumber {
    const text = this.match(number)?.[0];
    if (text === undefined) {
      this.fail(this.at < this.text.length ? 'a value was expected' : 'the text ends too early');
    }
    return new JsonNumber(text);
  }

  private word<T extends JsonValue>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail('a value was expected');
    this.at += word.length;
    return value;
  }

  private take(character: string): boolean {
    this.skipBlank();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private skipBlank(): void {
    this.match(blank);
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  private fail(reason: string): never {
    throw new JsonError(`${reason} (at character ${this.at})`);
  }
}

/** A name for a one-line message: quoted, control characters escaped, shortened when very long. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name);
}
