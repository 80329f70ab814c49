/** Markup that is known to be safe; only {@link html} and {@link raw} make it. */
export class Html {
  constructor(readonly markup: string) {}

  toString(): string {
    return this.markup;
  }
}

/** What may stand in a template: text is escaped, markup kept, lists joined, nothing left out. */
export type Part = string | number | Html | null | undefined | false | readonly Part[];

/**
 * Markup from a template. Every value is escaped unless it is markup itself, in text and in quoted attributes alike.
 *
 * @example
 * ```ts
 * html`<b title="${name}">${values.map((value) => html`<i>${value}</i>`)}</b>`
 * ```
 */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.reduce((text, piece, i) => `${text}${render(parts[i - 1])}${piece}`));
}

/** Markup from a string of this program's own; never from data. */
export function raw(markup: string): Html {
  return new Html(markup);
}

/** Data for a script to read, in an element that no browser executes. */
export function jsonScript(value: unknown): Html {
  // Inside <script> only "</" and "<!" mean something; < is written as an escape of JSON.
  return raw(`<script type="application/json">${JSON.stringify(value).replaceAll('<', '\\u003c')}</script>`);
}

function render(part: Part): string {
  if (part === null || part === undefined || part === false) return '';
  if (part instanceof Html) return part.markup;
  if (typeof part === 'object') return part.map(render).join('');
  return escapeHtml(String(part));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}
