import { CraftError } from '@craft-ft/torch/errors';

/** A request that the page would not make. */
export class BadQuery extends CraftError {
  constructor(name: string, found: string | null, expected: string) {
    super('VIEW_QUERY', `${name}: found ${JSON.stringify(found)}, expected ${expected}`);
    this.name = 'BadQuery';
  }
}

/** A number of a query, 0, 1, 2, … @throws BadQuery */
export function wholeNumber(query: URLSearchParams, name: string): number {
  const text = query.get(name);
  const number = Number(text);
  if (text !== null && /^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new BadQuery(name, text, 'a whole number from 0 on');
}

/** One of some words. @throws BadQuery */
export function wordOf(query: URLSearchParams, name: string, words: readonly string[]): string {
  const text = query.get(name);
  if (text !== null && words.includes(text)) return text;
  throw new BadQuery(name, text, `one of ${words.join(', ')}`);
}
