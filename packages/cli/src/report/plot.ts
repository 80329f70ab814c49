import { type Html, html, raw } from './html.js';

/** Maps values of an axis to 0…1, and gives its ticks. */
export interface Scale {
  min: number;
  max: number;
  log: boolean;
  ticks: number[];
}

/** The distance between about `count` ticks over `span`: 1, 2 or 5 times a power of ten. */
function niceStep(span: number, count: number): number {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough * (1 - 1e-9))!;
  return factor * power;
}

/**
 * A linear axis whose ends are ticks, unless the caller pins them.
 *
 * @param pinned keeps `min` and `max` as they are, for axes that end where the data ends.
 */
export function linearScale(min: number, max: number, count: number, pinned = false): Scale {
  // Values that differ only by rounding count as constant.
  if (max - min <= Math.max(1e-300, 1e-9 * Math.max(Math.abs(min), Math.abs(max)))) [min, max] = widened(min);
  const step = niceStep(max - min, count);
  const first = pinned ? Math.ceil(min / step - 1e-9) : Math.floor(min / step + 1e-9);
  const last = pinned ? Math.floor(max / step + 1e-9) : Math.ceil(max / step - 1e-9);
  // Steps are decimal: rounding removes the binary error (0.30000000000000004).
  const ticks = Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
  return pinned ? { min, max, log: false, ticks } : { min: ticks[0]!, max: ticks.at(-1)!, log: false, ticks };
}

function widened(value: number): [number, number] {
  const margin = Math.abs(value) < 1e-300 ? 1 : Math.abs(value) * 0.5;
  return [value - margin, value + margin];
}

/** A logarithmic axis; both ends must be above 0. Ticks are powers of ten, with 2 and 5 if there are few. */
export function logScale(min: number, max: number): Scale {
  const [low, high] = [Math.floor(Math.log10(min) + 1e-9), Math.ceil(Math.log10(max) - 1e-9)];
  const decades = Math.max(1, high - low);
  const every = Math.ceil(decades / 6);
  const ticks: number[] = [];
  for (let power = low; power <= low + decades; power++) {
    if ((power - low) % every === 0) ticks.push(10 ** power);
    if (decades <= 2 && power < low + decades) ticks.push(2 * 10 ** power, 5 * 10 ** power);
  }
  return { min: 10 ** low, max: 10 ** (low + decades), log: true, ticks };
}

/** Position of a value on the axis: 0 at or below its lower end, 1 at or above its upper end. */
export function position(value: number, { min, max, log }: Scale): number {
  const share = log ? Math.log10(value / min) / Math.log10(max / min) : (value - min) / (max - min);
  return Math.min(1, Math.max(0, share));
}

/** A point in data coordinates. */
export type Coordinates = readonly [x: number, y: number];

/** Position of a plot in its drawing, in pixels. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Maps values of an axis to 0…1; or the values at its two ends. */
type Axis = ((value: number) => number) | readonly [low: number, high: number];

/** Ticks of both axes, each with its value and text, and the axis labels. */
interface AxisLabels {
  x?: readonly (readonly [number, string])[];
  y?: readonly (readonly [number, string])[];
  xLabel?: string;
  yLabel?: string;
}

const share = (axis: Axis) =>
  typeof axis === 'function' ? axis : (value: number) => (value - axis[0]) / (axis[1] - axis[0]);

/** A length or position in SVG; a tenth of a pixel is precise enough. */
export const pixels = (value: number): number => Number(value.toFixed(1));

/**
 * One plot in data coordinates, as SVG. Later elements are drawn on top. Used for the charts of a report and the figures of the
 * documentation; CSS classes set the colours.
 */
export class Plot {
  readonly #marks: Html[] = [];
  readonly #x: (value: number) => number;
  readonly #y: (value: number) => number;

  constructor(
    readonly box: Box,
    { x, y }: { x: Axis; y: Axis },
  ) {
    [this.#x, this.#y] = [share(x), share(y)];
  }

  /** Pixel of a value of the x axis. */
  px(value: number): number {
    return pixels(this.box.left + this.#x(value) * this.box.width);
  }

  /** Pixel of a value of the y axis. */
  py(value: number): number {
    return pixels(this.box.top + (1 - this.#y(value)) * this.box.height);
  }

  add(mark: Html): this {
    this.#marks.push(mark);
    return this;
  }

  line(points: readonly Coordinates[], classes: string): this {
    return this.add(html`<path d="${this.#path(points)}" class="${classes}"/>`);
  }

  area(points: readonly Coordinates[], classes: string): this {
    return this.add(html`<path d="${this.#path(points)}Z" class="${classes}"/>`);
  }

  dot([x, y]: Coordinates, classes: string, radius: number): this {
    return this.add(html`<circle cx="${this.px(x)}" cy="${this.py(y)}" r="${radius}" class="${classes}"/>`);
  }

  /** A horizontal line across the plot at a value of the y axis. */
  level(value: number, classes: string): this {
    const { left, width } = this.box;
    const y = this.py(value);
    return this.add(html`<line x1="${left}" x2="${left + width}" y1="${y}" y2="${y}" class="${classes}"/>`);
  }

  /** Text at a position in pixels; the subscript of `L_retain` is set below the line. */
  write(
    [left, top]: readonly [number, number],
    words: string,
    { classes = '', anchor = 'start' }: { classes?: string; anchor?: 'start' | 'middle' | 'end' } = {},
  ): this {
    const place = html`x="${pixels(left)}" y="${pixels(top)}" text-anchor="${anchor}"`;
    return this.add(html`<text ${place} class="${classes}">${withSubscripts(words)}</text>`);
  }

  /** Draws the ticks of both axes, a grid line for each y tick, and the axis labels. */
  axes({ x = [], y = [], xLabel = '', yLabel = '' }: AxisLabels): this {
    const { left, top, width, height } = this.box;
    const bottom = top + height;
    for (const [value, words] of y) {
      this.level(value, value === 0 ? 'grid zero' : 'grid');
      this.write([left - 8, this.py(value) + 4], words, { classes: 'soft', anchor: 'end' });
    }
    for (const [value, words] of x) {
      this.write([this.px(value), bottom + 17], words, { classes: 'soft', anchor: 'middle' });
    }
    this.add(html`<line x1="${left}" x2="${left + width}" y1="${bottom}" y2="${bottom}" class="axis"/>`);
    if (xLabel !== '') this.write([left + width, bottom + 35], xLabel, { classes: 'label', anchor: 'end' });
    if (yLabel !== '') this.write([left, top - 10], yLabel, { classes: 'label', anchor: 'middle' });
    return this;
  }

  /** Everything drawn so far. */
  marks(): Html {
    return html`${this.#marks.map((mark) => [mark, raw('\n')])}`;
  }

  #path(points: readonly Coordinates[]): string {
    return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${this.px(x)} ${this.py(y)}`).join('');
  }
}

function withSubscripts(text: string): Html {
  const parts = text.split(/(_[\p{L}\d*]+)/u).map((part) =>
    // The trailing empty word returns to the baseline.
    part.startsWith('_')
      ? html`<tspan dy="4" font-size="70%">${part.slice(1)}</tspan><tspan dy="-4">\u200b</tspan>`
      : part,
  );
  return html`${parts}`;
}
