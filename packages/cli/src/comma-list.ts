import { nearest, type Problem } from '@craft-ft/policies/config';

/** The words of `a,b` or `[a, b]`, as LeRobot's users write lists. */
export function commaList(text: string): string[] {
  return text
    .replace(/^\s*\[|\]\s*$/g, '')
    .split(',')
    .map((word) => word.trim().replace(/^(['"])(.*)\1$/, '$2'))
    .filter((word) => word !== '');
}

/** A problem for every word that is not known, naming the nearest one, or stands twice, and for a list without words. */
export function unknownWords(field: string, text: string, known: readonly string[]): Problem[] {
  const words = commaList(text);
  if (words.length === 0) {
    return [{ field, found: text, message: `expected some of ${known.join(', ')}` }];
  }
  const twice = new Set(words.filter((word, i) => words.indexOf(word) < i && known.includes(word)));
  return [
    ...words
      .filter((word) => !known.includes(word))
      .map((word) => {
        const near = nearest(word, known);
        const message = near === null ? `expected some of ${known.join(', ')}` : `did you mean ${near}?`;
        return { field, found: word, message };
      }),
    ...[...twice].map((word) => ({ field, found: text, message: `expected ${word} once` })),
  ];
}
