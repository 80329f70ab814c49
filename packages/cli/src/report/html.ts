/** Markup that is known to be safe; only {@link html} and {@link raw} make it. */
export class Html {
  constructor(readonly markup: string) {}

  toString(): string {
    return this.markup;
  }
}

/** What a template may contain: text is escaped, markup kept, lists joined, null, undefined and false left out. */
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

/** Markup from a string in this program; never from data. */
export function raw(markup: string): Html {
  return new Html(markup);
}

/** Data for a script, in an element that no browser executes. */
export function jsonScript(value: unknown): Html {
  // Inside <script> only "</" and "<!" are special; < is written as a JSON escape.
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

const SUPERSCRIPT = '⁰¹²³⁴⁵⁶⁷⁸⁹';

/** A number for display: four significant digits, powers of ten outside 0.001 to 100,000. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
    const [mantissa, exponent] = value.toExponential(Math.max(0, Math.min(digits, 3) - 1)).split('e');
    const power = `10${superscript(Number(exponent))}`;
    return (Number(mantissa) === 1 ? power : `${Number(mantissa)}·${power}`).replace('-', '−');
  }
  return String(Number(value.toPrecision(digits))).replace('-', '−');
}

function superscript(exponent: number): string {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPT[Number(digit)]).join('');
  return exponent < 0 ? `⁻${digits}` : digits;
}

/** `1200` as `1.2k`, for axes of steps. */
export function formatCount(value: number): string {
  for (const [unit, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${unit}`;
  }
  return String(Number(value.toPrecision(4)));
}

/** `0.125` as `12.5 %`. */
export function formatPercent(share: number): string {
  return `${Number((100 * share).toFixed(share !== 0 && Math.abs(share) < 0.1 ? 1 : 0))} %`;
}

/** Seconds as `850 ms`, `42 s`, `3 min 20 s` or `5 h 12 min`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return String(seconds);
  if (seconds < 10)
    return seconds < 1 ? `${Number((seconds * 1e3).toPrecision(3))} ms` : `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
