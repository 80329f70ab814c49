import { formatCount, formatNumber, formatPercent, type Html, html, jsonScript, raw } from './html.js';
import { type Coordinates, linearScale, logScale, Plot, position, type Scale } from './plot.js';

/** One curve of a chart. */
export interface Series {
  label: string;
  samples: readonly Sample[];
  /** Index into the palette; curves that belong together share one. */
  color: number;
  /** Thresholds and references are drawn dashed. */
  dashed?: boolean;
  /** Maximum number of points; what lies between is shown as a band. Default 300. */
  limit?: number;
}

/** A horizontal line at a meaningful value (a bound, a threshold). */
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
  /** `auto`: logarithmic if all values are above 0 and span more than two powers of ten. Default `auto`. */
  yScale?: 'auto' | 'linear';
  /** The axis covers at least this range. */
  yRange?: readonly [number, number];
  /** Ends of the x axis. Default: where the data ends. */
  xRange?: readonly [number, number];
  /** Format of the values. Default `number`. */
  unit?: 'number' | 'percent';
}

const WIDTH = 640;
const HEIGHT = 300;
/** Points are marked individually up to this number. */
const FEW = 24;
const BOX = { left: 64, top: 12, width: 560, height: 250 };

/**
 * A line chart as one figure: SVG drawn here, so that it shows without scripts, with the numbers alongside for the readout under the
 * pointer. Null if no series has a point.
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
  const format = spec.unit === 'percent' ? formatPercent : formatNumber;
  const plot = new Plot(BOX, { x: (value) => position(value, x), y: (value) => position(value, y) });
  plot.axes({
    x: x.ticks.map((tick) => [tick, formatCount(tick)]),
    y: y.ticks.map((tick) => [tick, format(tick)]),
    xLabel: spec.xLabel ?? 'step',
  });
  for (const { value } of levels) plot.level(value, 'level');
  for (const curve of curves) drawBand(plot, curve);
  for (const curve of curves) drawLine(plot, curve);
  return html`<figure class="chart">
<figcaption><h3>${spec.title}</h3>${spec.about !== undefined && html`<p>${spec.about}</p>`}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${spec.title}">
${plot.marks()}<g class="hover"></g>
</svg>
${(spec.series.length > 1 || levels.length > 0) && legend(curves, levels, format)}
${jsonScript(payload(curves, plot, format, spec))}
</figure>`;
}

interface Curve extends Series {
  points: Point[];
}

const least = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b));
const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b));

function valueScale({ yScale = 'auto', yRange, levels = [] }: ChartSpec, points: readonly Point[]): Scale {
  const low = least([...points.map((p) => p.low), ...(yRange ? [yRange[0]] : [])]);
  const high = most([...points.map((p) => p.high), ...(yRange ? [yRange[1]] : [])]);
  // A few tiny values (a loss that starts at 0) would take up most of a logarithmic axis; they are drawn at its edge.
  const small = points.map((p) => p.low).sort((a, b) => a - b)[Math.floor(points.length / 20)]!;
  if (yScale === 'auto' && low > 0 && high / small > 100) return logScale(small, high);
  // A nearby level is worth the room; a distant one would flatten the curves.
  const span = high - low || Math.abs(high) || 1;
  const near = levels.map(({ value }) => value).filter((v) => v > low - span / 2 && v < high + span / 2);
  // The axis of positive values starts at 0 if that costs little room.
  const floor = low > 0 && low < 0.4 * high ? 0 : low;
  return linearScale(least([floor, ...near]), most([high, ...near]), 5);
}

function drawBand(plot: Plot, { points, color }: Curve): void {
  if (points.length < 2 || points.every(({ low, high }) => low === high)) return;
  const upper = points.map(({ x, high }): Coordinates => [x, high]);
  const lower = points.map(({ x, low }): Coordinates => [x, low]).reverse();
  plot.area([...upper, ...lower], `band s${color % 8}`);
}

function drawLine(plot: Plot, { points, color, dashed }: Curve): void {
  const spots = points.map(({ x, y }): Coordinates => [x, y]);
  plot.line(spots, `line s${color % 8}${dashed === true ? ' dashed' : ''}`);
  // With few points, mark each one: the line between them is not data.
  if (points.length > FEW || dashed === true) return;
  for (const spot of spots) plot.dot(spot, `dot s${color % 8}`, 3.5);
}

function legend(curves: readonly Curve[], levels: readonly Level[], format: (v: number) => string): Html {
  return html`<ul class="legend">
${curves.map(({ label, color, dashed }) => html`<li><i class="key s${color % 8}${dashed === true ? ' dashed' : ''}"></i>${label}</li>`)}
${levels.map(({ label, value }) => html`<li><i class="key level"></i>${label} ${format(value)}</li>`)}
</ul>`;
}

/** What the page's script needs to find the points under the pointer. */
function payload(
  curves: readonly Curve[],
  plot: Plot,
  format: (value: number) => string,
  { xLabel = 'step' }: ChartSpec,
): unknown {
  const { left, top, width, height } = BOX;
  return {
    box: [left, left + width, top, top + height],
    xLabel,
    series: curves.map(({ label, color, points }) => ({
      label,
      color: color % 8,
      // Pixels and the texts to show, so that the script needs to know nothing about scales.
      points: points.map((p) => [
        plot.px(p.x),
        plot.py(p.y),
        formatCount(Math.round(p.x)),
        p.low === p.high ? format(p.y) : `${format(p.y)} (${format(p.low)} – ${format(p.high)})`,
      ]),
    })),
  };
}

/** Charts side by side if there is room; nothing if there are none. */
export function chartGrid(charts: readonly (Html | null)[]): Html {
  return html`<div class="charts">${charts.filter((chart) => chart !== null).map((chart) => [chart, raw('\n')])}</div>`;
}

/** One point of a curve; `low` and `high` are the extremes of the values it summarises. */
export interface Point {
  x: number;
  y: number;
  low: number;
  high: number;
}

/** A value at a step. */
export type Sample = readonly [x: number, y: number];

/**
 * At most `limit` points: neighbours are averaged and their range is kept, so that a peak in a long run still shows. Values that are not
 * finite are left out.
 */
export function downsample(samples: readonly Sample[], limit: number): Point[] {
  const finite = samples.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const buckets = Math.min(limit, finite.length);
  return Array.from({ length: buckets }, (_, bucket) => {
    const from = Math.floor((bucket * finite.length) / buckets);
    const to = Math.floor(((bucket + 1) * finite.length) / buckets);
    return merge(finite.slice(from, to));
  });
}

function merge(samples: readonly Sample[]): Point {
  let [x, y, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [at, value] of samples) {
    x += at / samples.length;
    y += value / samples.length;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { x, y: Math.min(high, Math.max(low, y)), low, high };
}
