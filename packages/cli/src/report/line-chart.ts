import { downsample, type Point, type Sample } from './downsample.js';
import { formatCount, formatNumber, formatPercent } from './format.js';
import { type Html, html, jsonScript, raw } from './html.js';
import { linearScale, logScale, position, type Scale } from './ticks.js';

/** One curve of a chart. */
export interface Series {
  label: string;
  samples: readonly Sample[];
  /** Index into the palette; curves that belong together share one. */
  color: number;
  /** Thresholds and references are drawn dashed. */
  dashed?: boolean;
  /** Points at most; what lies between is shown as a band. Default 300. */
  limit?: number;
}

/** A horizontal line at a value with a meaning (a bound, a threshold). */
export interface Level {
  label: string;
  value: number;
}

/** What a chart shows; everything but title and series has a default. */
export interface ChartSpec {
  title: string;
  /** One sentence below the title: what the numbers are, and how to read them. */
  about?: string;
  series: readonly Series[];
  levels?: readonly Level[];
  xLabel?: string;
  /** `auto`: logarithmic where every value is above 0 and they span more than two powers of ten. Default `auto`. */
  yScale?: 'auto' | 'linear';
  /** The axis contains this range at least. */
  yRange?: readonly [number, number];
  /** Ends of the other axis. Default: where the data ends. */
  xRange?: readonly [number, number];
  /** How values are written. Default `number`. */
  unit?: 'number' | 'percent';
}

const WIDTH = 640;
const HEIGHT = 300;
/** Up to this many points are marked. */
const FEW = 24;
const BOX = { left: 64, right: 16, top: 12, bottom: 38 };

/**
 * A line chart as one figure: SVG drawn here, so that it shows without scripts, and the numbers beside it for the readout under the
 * pointer. Null where no series has a point.
 */
export function lineChart(spec: ChartSpec): Html | null {
  const curves = spec.series
    .map((series) => ({ ...series, points: downsample(series.samples, series.limit ?? 300) }))
    .filter(({ points }) => points.length > 0);
  if (curves.length === 0) return null;
  const points = curves.flatMap((curve) => curve.points);
  const [first, last] = spec.xRange ?? [least(points.map((p) => p.x)), most(points.map((p) => p.x))];
  const x = linearScale(first, last, 6, true);
  const y = valueScale(spec, points);
  const levels = (spec.levels ?? []).filter(({ value }) => value >= y.min && value <= y.max);
  const plot = { x, y, format: spec.unit === 'percent' ? formatPercent : formatNumber };
  return html`<figure class="chart">
<figcaption><h3>${spec.title}</h3>${spec.about !== undefined && html`<p>${spec.about}</p>`}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${spec.title}">
${axes(plot, spec.xLabel ?? 'step')}
${levels.map((level) => levelLine(level, plot))}
${curves.map((curve) => band(curve.points, curve.color, plot))}
${curves.map((curve) => line(curve, plot))}
<g class="hover"></g>
</svg>
${(spec.series.length > 1 || levels.length > 0) && legend(curves, levels, plot.format)}
${jsonScript(payload(curves, plot, spec))}
</figure>`;
}

interface Curve extends Series {
  points: Point[];
}

interface Plot {
  x: Scale;
  y: Scale;
  format: (value: number) => string;
}

const least = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b));
const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b));

function valueScale({ yScale = 'auto', yRange, levels = [] }: ChartSpec, points: readonly Point[]): Scale {
  const low = least([...points.map((p) => p.low), ...(yRange ? [yRange[0]] : [])]);
  const high = most([...points.map((p) => p.high), ...(yRange ? [yRange[1]] : [])]);
  // A few tiny values (a loss that starts at 0) would take most of a logarithmic axis: they lie on its edge.
  const small = points.map((p) => p.low).sort((a, b) => a - b)[Math.floor(points.length / 20)]!;
  if (yScale === 'auto' && low > 0 && high / small > 100) return logScale(small, high);
  // A level that is near is worth the room; a far one would flatten the curves.
  const span = high - low || Math.abs(high) || 1;
  const near = levels.map(({ value }) => value).filter((v) => v > low - span / 2 && v < high + span / 2);
  // Values that are all above 0 are read against 0 where that costs little.
  const floor = low > 0 && low < 0.4 * high ? 0 : low;
  return linearScale(least([floor, ...near]), most([high, ...near]), 5);
}

const px = (value: number, x: Scale) => BOX.left + position(value, x) * (WIDTH - BOX.left - BOX.right);
const py = (value: number, y: Scale) =>
  HEIGHT - BOX.bottom - position(value, y) * (HEIGHT - BOX.top - BOX.bottom);
const at = (value: number) => value.toFixed(1);

function axes({ x, y, format }: Plot, xLabel: string): Html {
  const [left, right, bottom] = [BOX.left, WIDTH - BOX.right, HEIGHT - BOX.bottom];
  return html`<g class="axes">
${y.ticks.map((tick) => {
  const height = at(py(tick, y));
  return html`<line x1="${left}" x2="${right}" y1="${height}" y2="${height}" class="${tick === 0 ? 'zero' : 'grid'}"/>
<text x="${left - 8}" y="${height}" dy="0.35em" text-anchor="end">${format(tick)}</text>`;
})}
${x.ticks.map(
  (tick) =>
    html`<text x="${at(px(tick, x))}" y="${bottom + 16}" text-anchor="middle">${formatCount(tick)}</text>`,
)}
<text x="${(left + right) / 2}" y="${HEIGHT - 4}" text-anchor="middle" class="label">${xLabel}</text>
<line x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}" class="base"/>
</g>`;
}

function levelLine({ value }: Level, { y }: Plot): Html {
  const height = at(py(value, y));
  return html`<line x1="${BOX.left}" x2="${WIDTH - BOX.right}" y1="${height}" y2="${height}" class="level"/>`;
}

function line({ points, color, dashed }: Curve, { x, y }: Plot): Html {
  const spots = points.map((p) => [at(px(p.x, x)), at(py(p.y, y))] as const);
  const path = spots.map(([left, top], i) => `${i === 0 ? 'M' : 'L'}${left} ${top}`).join('');
  // Few points: the line between them is not data, so they are shown themselves.
  const dots = points.length > FEW || dashed === true ? [] : spots;
  return html`<path d="${path}" class="line s${color % 8}${dashed === true && ' dashed'}"/>
${dots.map(([left, top]) => html`<circle cx="${left}" cy="${top}" r="3.5" class="dot s${color % 8}"/>`)}`;
}

function band(points: readonly Point[], color: number, { x, y }: Plot): Html | null {
  if (points.length < 2 || points.every(({ low, high }) => low === high)) return null;
  const upper = points.map((p) => `${at(px(p.x, x))} ${at(py(p.high, y))}`);
  const lower = points.map((p) => `${at(px(p.x, x))} ${at(py(p.low, y))}`).reverse();
  return html`<path d="M${[...upper, ...lower].join('L')}Z" class="band s${color % 8}"/>`;
}

function legend(curves: readonly Curve[], levels: readonly Level[], format: (v: number) => string): Html {
  return html`<ul class="legend">
${curves.map(({ label, color, dashed }) => html`<li><i class="key s${color % 8}${dashed === true ? ' dashed' : ''}"></i>${label}</li>`)}
${levels.map(({ label, value }) => html`<li><i class="key level"></i>${label} ${format(value)}</li>`)}
</ul>`;
}

/** What the page's script needs to find the points under the pointer. */
function payload(curves: readonly Curve[], { x, y, format }: Plot, { xLabel = 'step' }: ChartSpec): unknown {
  return {
    box: [BOX.left, WIDTH - BOX.right, BOX.top, HEIGHT - BOX.bottom],
    xLabel,
    series: curves.map(({ label, color, points }) => ({
      label,
      color: color % 8,
      // Pixels, and the texts to show: the script needs to know nothing of scales.
      points: points.map((p) => [
        Number(at(px(p.x, x))),
        Number(at(py(p.y, y))),
        formatCount(Math.round(p.x)),
        p.low === p.high ? format(p.y) : `${format(p.y)} (${format(p.low)} – ${format(p.high)})`,
      ]),
    })),
  };
}

/** Charts side by side where there is room; nothing where there are none. */
export function chartGrid(charts: readonly (Html | null)[]): Html {
  return html`<div class="charts">${charts.filter((chart) => chart !== null).map((chart) => [chart, raw('\n')])}</div>`;
}
