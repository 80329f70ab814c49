// Small SVG figures for the documentation: curves and arrows in data coordinates, readable on light and dark pages.

const STYLE = `
  text { font: 15px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: #1b1f27; }
  .m { font-style: italic; font-family: Georgia, "Times New Roman", serif; font-size: 18px; }
  .soft { fill: #5d6675; font-size: 13px; }
  .axis { stroke: #5d6675; stroke-width: 1.2; fill: none; }
  .grid { stroke: #5d6675; stroke-opacity: .18; fill: none; }
  .area { fill: #138a63; fill-opacity: .13; stroke: none; }
  .bad { fill: #c2362b; fill-opacity: .09; stroke: none; }
  .c0 { stroke: #2563c9; } .c1 { stroke: #d4541b; } .c2 { stroke: #138a63; } .c3 { stroke: #9340b8; } .c4 { stroke: #5d6675; }
  .f0 { fill: #2563c9; } .f1 { fill: #d4541b; } .f2 { fill: #138a63; } .f3 { fill: #9340b8; } .f4 { fill: #5d6675; }
  .line { fill: none; stroke-width: 2.4; stroke-linejoin: round; stroke-linecap: round; }
  .thin { fill: none; stroke-width: 1.2; stroke-opacity: .75; }
  .dash { stroke-dasharray: 6 5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; } .soft { fill: #98a2b3; } .axis, .grid { stroke: #98a2b3; }
    .c0 { stroke: #6ea0ff; } .c1 { stroke: #ff8f5a; } .c2 { stroke: #45cf9c; } .c3 { stroke: #cc8bea; } .c4 { stroke: #98a2b3; }
    .f0 { fill: #6ea0ff; } .f1 { fill: #ff8f5a; } .f2 { fill: #45cf9c; } .f3 { fill: #cc8bea; } .f4 { fill: #98a2b3; }
    .area { fill: #45cf9c; fill-opacity: .14; } .bad { fill: #ff7b72; fill-opacity: .12; }
  }
`;

const n = (value) => String(Number(value.toFixed(1)));

/** `g_t'` and `L_retain` with their subscripts set below the line. */
function label(text) {
  return text
    .replaceAll('<', '&lt;')
    .split(/(_[\p{L}\d*]+)/u)
    .map((part) =>
      part.startsWith('_')
        ? `<tspan dy="4" font-size="70%">${part.slice(1)}</tspan><tspan dy="-4">\u200b</tspan>`
        : part,
    )
    .join('');
}

/** One panel of a figure, with its own coordinates. */
export class Panel {
  #marks = [];

  /**
   * @param {{left: number, top: number, width: number, height: number}} box in pixels
   * @param {{x: [number, number], y: [number, number]}} range in data coordinates
   */
  constructor(box, { x, y }) {
    this.box = box;
    this.px = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * box.width;
    this.py = (value) => box.top + box.height - ((value - y[0]) / (y[1] - y[0])) * box.height;
    this.range = { x, y };
  }

  #path(points) {
    return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${n(this.px(x))} ${n(this.py(y))}`).join('');
  }

  add(markup) {
    this.#marks.push(markup);
    return this;
  }

  line(points, classes) {
    return this.add(`<path d="${this.#path(points)}" class="${classes}"/>`);
  }

  area(points, classes) {
    return this.add(`<path d="${this.#path(points)}Z" class="${classes}"/>`);
  }

  curve(f, classes, [from, to] = this.range.x, count = 240) {
    const points = Array.from({ length: count + 1 }, (_, i) => {
      const x = from + ((to - from) * i) / count;
      return [x, f(x)];
    });
    return this.line(points, `line ${classes}`);
  }

  /** An arrow with a filled head; `color` is its number. */
  arrow([x0, y0], [x1, y1], color, extra = '') {
    const [ax, ay, bx, by] = [this.px(x0), this.py(y0), this.px(x1), this.py(y1)];
    const angle = Math.atan2(by - ay, bx - ax);
    const at = (back, side) =>
      `${n(bx - back * Math.cos(angle) - side * Math.sin(angle))} ${n(by - back * Math.sin(angle) + side * Math.cos(angle))}`;
    this.add(`<path d="M${n(ax)} ${n(ay)}L${at(9, 0)}" class="line c${color} ${extra}"/>`);
    return this.add(`<path d="M${at(0, 0)}L${at(12, 5)}L${at(12, -5)}Z" class="f${color}"/>`);
  }

  dot([x, y], color, r = 4.5) {
    return this.add(`<circle cx="${n(this.px(x))}" cy="${n(this.py(y))}" r="${r}" class="f${color}"/>`);
  }

  /** Text at a point; `dx`, `dy` in pixels. */
  text([x, y], words, { classes = '', anchor = 'start', dx = 0, dy = 0 } = {}) {
    return this.add(
      `<text x="${n(this.px(x) + dx)}" y="${n(this.py(y) + dy)}" text-anchor="${anchor}" class="${classes}">${label(words)}</text>`,
    );
  }

  /** Both axes with ticks, given as value and text. */
  axes({ x = [], y = [], xLabel = '', yLabel = '' }) {
    const { left, top, width, height } = this.box;
    for (const [value, words] of y) {
      this.line(
        [
          [this.range.x[0], value],
          [this.range.x[1], value],
        ],
        'grid',
      );
      this.add(
        `<text x="${left - 8}" y="${n(this.py(value) + 4)}" text-anchor="end" class="soft">${label(words)}</text>`,
      );
    }
    for (const [value, words] of x) {
      this.add(
        `<text x="${n(this.px(value))}" y="${top + height + 18}" text-anchor="middle" class="soft">${label(words)}</text>`,
      );
    }
    this.add(`<path d="M${left} ${top}V${top + height}H${left + width}" class="axis"/>`);
    this.add(
      `<text x="${left + width}" y="${top + height + 36}" text-anchor="end" class="m">${label(xLabel)}</text>`,
    );
    return this.add(
      `<text x="${left}" y="${top - 10}" text-anchor="middle" class="m">${label(yLabel)}</text>`,
    );
  }

  /** A title above the panel. */
  title(words) {
    const { left, top, width } = this.box;
    return this.add(
      `<text x="${left + width / 2}" y="${top - 12}" text-anchor="middle">${label(words)}</text>`,
    );
  }

  toString() {
    return this.#marks.join('\n');
  }
}

/** The file: panels side by side. */
export function figure(width, height, title, panels) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${title}</title>
<style>${STYLE}</style>
${panels.join('\n')}
</svg>
`;
}
