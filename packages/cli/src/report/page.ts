import { createHash } from 'node:crypto';
import { escapeHtml, type Html, html, raw } from './html.js';

/** A part of a page, with its own heading. */
export interface Section {
  title: string;
  body: Html;
}

/** A page: what it is about, and its sections in order. */
export interface Page {
  title: string;
  /** One line under the title. */
  subtitle?: string;
  /** What the reader must know before the numbers (such as an unfinished run). */
  notes?: readonly string[];
  sections: readonly Section[];
  /** Last line; says what made the page. */
  footer?: string;
}

/**
 * The page as one self-contained HTML file: style and script are inline, and nothing refers to an outside address. Its content security
 * policy lets the browser run that one script and load nothing, whatever the data holds.
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

/** Colours of a theme; `series` are those of the curves. */
interface Theme {
  paper: string;
  card: string;
  ink: string;
  soft: string;
  rule: string;
  faint: string;
  good: string;
  bad: string;
  mark: string;
  series: readonly string[];
}

/** The colours can be told apart with the common colour-vision deficiencies, in both themes. */
export const LIGHT: Theme = {
  paper: '#f6f7f9',
  card: '#ffffff',
  ink: '#1b1f27',
  soft: '#5d6675',
  rule: '#e3e6eb',
  faint: '#eef0f3',
  good: '#138a63',
  bad: '#c2362b',
  mark: '#fff3cf',
  series: ['#2563c9', '#d4541b', '#138a63', '#9340b8', '#a87900', '#0b87a8', '#c42e68', '#5f6b7a'],
};

export const DARK: Theme = {
  paper: '#12151b',
  card: '#1a1e26',
  ink: '#e6e9ef',
  soft: '#98a2b3',
  rule: '#2c323d',
  faint: '#232833',
  good: '#45cf9c',
  bad: '#ff7b72',
  mark: '#423610',
  series: ['#6ea0ff', '#ff8f5a', '#45cf9c', '#cc8bea', '#e3b341', '#4cc3e6', '#ff7aa8', '#a4afbf'],
};

function variables({ series, ...others }: Theme): string {
  const all = [...Object.entries(others), ...series.map((color, i) => [`s${i}`, color] as const)];
  return all.map(([name, color]) => `--${name}: ${color};`).join(' ');
}

const PAGE_STYLE = `
:root { color-scheme: light dark; ${variables(LIGHT)} }
@media (prefers-color-scheme: dark) { :root { ${variables(DARK)} } }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
main { max-width: 1360px; margin: 0 auto; padding: 28px 24px 64px; }
header h1 { margin: 0; font-size: 26px; line-height: 1.25; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
section { margin-top: 36px; }
h2 { font-size: 18px; margin: 0 0 12px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 0; }
.notes { margin: 20px 0 0; padding: 10px 16px 10px 34px; background: var(--mark); border-radius: 8px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(172px, 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; }
.tile span { display: block; color: var(--soft); font-size: 13px; }
.tile b { display: block; font-size: 19px; font-weight: 600; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.tile.good b { color: var(--good); } .tile.bad b { color: var(--bad); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 430px), 1fr)); gap: 16px; }
.chart {
  position: relative; margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 14px 10px; break-inside: avoid; display: flex; flex-direction: column;
}
.chart p { margin: 2px 0 0; color: var(--soft); font-size: 13px; }
.chart svg { display: block; width: 100%; height: auto; margin-top: auto; padding-top: 8px; touch-action: pan-y; }
.chart text { fill: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--faint); } .zero, .axis { stroke: var(--soft); stroke-opacity: .55; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.dashed { stroke-dasharray: 7 5; stroke-width: 1.8; }
.band { fill: var(--c); fill-opacity: .16; }
.dot { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
.level { stroke: var(--soft); stroke-dasharray: 2 4; stroke-width: 1.4; }
.cursor { stroke: var(--soft); stroke-opacity: .6; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
.legend { list-style: none; margin: 6px 0 0 4px; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; }
.legend li { overflow-wrap: anywhere; }
.key { display: inline-block; width: 18px; height: 0; border-top: 3px solid var(--c); margin-right: 7px; vertical-align: 4px; }
.key.dashed { border-top-style: dashed; border-top-width: 2px; }
.key.level { border-top: 2px dotted var(--soft); }
.readout {
  position: absolute; z-index: 1; pointer-events: none; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; box-shadow: 0 4px 16px rgb(0 0 0 / .18); padding: 7px 11px; font-size: 13px; max-width: 70%;
}
.readout[hidden] { display: none; }
.readout span { display: flex; align-items: baseline; gap: 2px; }
.readout em { margin-left: auto; padding-left: 14px; font-style: normal; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
th { font-weight: 600; } thead th { color: var(--soft); font-size: 13px; background: var(--faint); }
th:first-child, td.text, th.text { text-align: left; }
tbody th { font-weight: 500; }
td.text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 13px; overflow-wrap: anywhere; }
td small { display: block; color: var(--soft); font-size: 12px; }
tr.differs > * { background: var(--mark); }
.meter { display: block; height: 4px; border-radius: 2px; background: var(--faint); margin-top: 3px; position: relative; }
.meter i { position: absolute; top: 0; height: 4px; border-radius: 2px; background: var(--s0); opacity: .35; }
.meter u { position: absolute; top: -2px; width: 3px; height: 8px; margin-left: -1px; border-radius: 1px; background: var(--s0); }
details { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; margin-top: 10px; overflow: hidden; }
details .scroll { border: 0; border-radius: 0; }
summary { padding: 9px 14px; cursor: pointer; font-weight: 600; font-size: 14px; }
summary small { color: var(--soft); font-weight: 400; margin-left: 8px; }
details[open] summary { border-bottom: 1px solid var(--rule); }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 16px; }
.videos figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; overflow: hidden; }
.videos video { display: block; width: 100%; background: #000; }
.videos figcaption { padding: 8px 12px; font-size: 14px; }
.videos figcaption small { display: block; color: var(--soft); }
footer { margin-top: 40px; color: var(--soft); font-size: 13px; }
@media print { body { background: #fff; } main { max-width: none; padding: 0; } }
`;

/**
 * The page's script: shows the values under the pointer in every chart. Plain JavaScript, because it is embedded as it is; the page is
 * complete without it.
 */
const PAGE_SCRIPT = `
for (const figure of document.querySelectorAll('figure.chart')) {
  const svg = figure.querySelector('svg');
  const layer = svg.querySelector('.hover');
  const { box, xLabel, series } = JSON.parse(figure.querySelector('script').textContent);
  const readout = document.createElement('div');
  readout.className = 'readout';
  readout.hidden = true;
  figure.append(readout);
  const make = (name, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const nearest = (points, x) => points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
  const clear = () => { layer.replaceChildren(); readout.hidden = true; };
  svg.addEventListener('pointerleave', clear);
  svg.addEventListener('pointermove', (event) => {
    const bounds = svg.getBoundingClientRect();
    const scale = 640 / bounds.width;
    const pointer = (event.clientX - bounds.left) * scale;
    if (pointer < box[0] - 8 || pointer > box[1] + 8) return clear();
    const found = series.map((one) => ({ ...one, point: nearest(one.points, pointer) }));
    const x = found.reduce((a, b) => (Math.abs(b.point[0] - pointer) < Math.abs(a.point[0] - pointer) ? b : a)).point;
    const shown = found.filter(({ point }) => Math.abs(point[0] - x[0]) < 12);
    layer.replaceChildren(
      make('line', { x1: x[0], x2: x[0], y1: box[2], y2: box[3], class: 'cursor' }),
      ...shown.map(({ point, color }) => make('circle', { cx: point[0], cy: point[1], r: 4, class: 'dot s' + color })),
    );
    const title = document.createElement('b');
    title.textContent = xLabel + ' ' + x[2];
    readout.replaceChildren(title, ...shown.map(({ label, color, point }) => {
      const row = document.createElement('span');
      const key = document.createElement('i');
      key.className = 'key s' + color;
      const value = document.createElement('em');
      value.textContent = point[3];
      row.append(key, label, value);
      return row;
    }));
    readout.hidden = false;
    const inside = figure.getBoundingClientRect();
    const left = event.clientX - inside.left;
    readout.style.top = (bounds.top - inside.top + 8) + 'px';
    const right = left > inside.width / 2;
    readout.style.left = right ? 'auto' : (left + 18) + 'px';
    readout.style.right = right ? (inside.width - left + 18) + 'px' : 'auto';
  });
}
`;
