import { createHash } from 'node:crypto';
import { escapeHtml, type Html, html, raw } from './html.js';
import { PAGE_SCRIPT } from './page-script.js';
import { PAGE_STYLE } from './page-style.js';

/** A part of a page, under a heading of its own. */
export interface Section {
  title: string;
  body: Html;
}

/** A page: what it is about, and its sections in order. */
export interface Page {
  title: string;
  /** One line under the title. */
  subtitle?: string;
  /** What the reader has to know before the numbers (an unfinished run). */
  notes?: readonly string[];
  sections: readonly Section[];
  /** Last line; says what made the page. */
  footer?: string;
}

/**
 * The page as one HTML file that needs nothing else: style and script inside, no address of anything outside. Its policy lets the
 * browser run that one script and load nothing, whatever the data holds.
 */
export function renderPage({ title, subtitle, notes = [], sections, footer }: Page): string {
  const hash = createHash('sha256').update(PAGE_SCRIPT).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; script-src 'sha256-${hash}'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
${html`<header><h1>${title}</h1>${subtitle !== undefined && html`<p>${subtitle}</p>`}</header>
${notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
${sections.map(({ title: heading, body }) => html`<section><h2>${heading}</h2>${body}</section>${raw('\n')}`)}
${footer !== undefined && html`<footer>${footer}</footer>`}`}
</main>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}
