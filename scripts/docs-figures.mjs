#!/usr/bin/env node
// npm run docs:figures              writes docs/figures/*.svg
// npm run docs:figures -- --check   writes nothing and fails where a file is not what it would write
// The method's curves are computed by the code that set-up has built, so that a figure shows what the program does.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { html, raw } from '../packages/cli/dist/report/html.js';
import { DARK, LIGHT } from '../packages/cli/dist/report/page.js';
import { Plot, pixels } from '../packages/cli/dist/report/plot.js';
import { epsilonSchedule, pidLambda, updateLambda } from '../packages/craft/dist/index.js';

/** Strokes c0… and fills f0…; the fifth colour is that of the axes. */
const colors = ({ series, soft }) =>
  [...series.slice(0, 4), soft]
    .map((color, i) => `.c${i} { stroke: ${color}; } .f${i} { fill: ${color}; }`)
    .join(' ');

const STYLE = `
  text { font: 15px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: ${LIGHT.ink}; }
  .m, .label { font-style: italic; font-family: Georgia, "Times New Roman", serif; font-size: 18px; }
  .soft { fill: ${LIGHT.soft}; font-size: 13px; }
  .axis { stroke: ${LIGHT.soft}; stroke-width: 1.2; fill: none; }
  .grid { stroke: ${LIGHT.soft}; stroke-opacity: .18; fill: none; }
  .area { fill: ${LIGHT.good}; fill-opacity: .13; stroke: none; }
  .bad { fill: ${LIGHT.bad}; fill-opacity: .09; stroke: none; }
  ${colors(LIGHT)}
  .line { fill: none; stroke-width: 2.4; stroke-linejoin: round; stroke-linecap: round; }
  .thin { fill: none; stroke-width: 1.2; stroke-opacity: .75; }
  .dash { stroke-dasharray: 6 5; }
  @media (prefers-color-scheme: dark) {
    text { fill: ${DARK.ink}; } .soft { fill: ${DARK.soft}; } .axis, .grid { stroke: ${DARK.soft}; }
    ${colors(DARK)}
    .area { fill: ${DARK.good}; fill-opacity: .14; } .bad { fill: ${DARK.bad}; fill-opacity: .12; }
  }
`;

/** A plot with what figures need beyond charts: arrows, functions, text at points. */
class Panel extends Plot {
  constructor(box, range) {
    super(box, range);
    this.range = range;
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
      `${pixels(bx - back * Math.cos(angle) - side * Math.sin(angle))} ${pixels(by - back * Math.sin(angle) + side * Math.cos(angle))}`;
    this.add(html`<path d="M${ax} ${ay}L${at(9, 0)}" class="line c${color} ${extra}"/>`);
    return this.add(html`<path d="M${at(0, 0)}L${at(12, 5)}L${at(12, -5)}Z" class="f${color}"/>`);
  }

  dot(point, color, radius = 4.5) {
    return super.dot(point, `f${color}`, radius);
  }

  /** Text at a point; `dx`, `dy` in pixels. */
  text([x, y], words, { dx = 0, dy = 0, ...options } = {}) {
    return this.write([this.px(x) + dx, this.py(y) + dy], words, options);
  }

  axes(labels) {
    const { left, top, height } = this.box;
    super.axes(labels);
    return this.add(html`<line x1="${left}" x2="${left}" y1="${top}" y2="${top + height}" class="axis"/>`);
  }

  /** A title above the panel. */
  title(words) {
    const { left, top, width } = this.box;
    return this.write([left + width / 2, top - 12], words, { anchor: 'middle' });
  }
}

/** The file: panels side by side. */
function figure(width, height, title, panels) {
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${title}</title>
<style>${raw(STYLE)}</style>
${panels.map((panel) => panel.marks())}</svg>
`.markup;
}

// Two losses with different minima: the whole problem in two dimensions. Task: minimum (3, 1.4); retention: minimum (0, 0).
const TASK = { center: [3, 1.4], scale: [0.5, 1.3] };
const RETAIN = { center: [0, 0], scale: [1, 0.55] };
const EPSILON = 0.9;

const value = ({ center, scale }, [x, y]) =>
  0.5 * (scale[0] * (x - center[0]) ** 2 + scale[1] * (y - center[1]) ** 2);
const gradient = ({ center, scale }, [x, y]) => [scale[0] * (x - center[0]), scale[1] * (y - center[1])];

/** The minimum of L_task + λ·L_retain over θ, in closed form. */
const minimiser = (lambda) =>
  [0, 1].map(
    (i) =>
      (TASK.scale[i] * TASK.center[i] + lambda * RETAIN.scale[i] * RETAIN.center[i]) /
      (TASK.scale[i] + lambda * RETAIN.scale[i]),
  );

/** The λ at which the constraint is just active. */
function optimalLambda() {
  let [low, high] = [0, 100];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (value(RETAIN, minimiser(middle)) > EPSILON) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

const LAMBDA = optimalLambda();

function ellipse({ center, scale }, level) {
  return Array.from({ length: 91 }, (_, i) => {
    const angle = (2 * Math.PI * i) / 90;
    return [
      center[0] + Math.sqrt((2 * level) / scale[0]) * Math.cos(angle),
      center[1] + Math.sqrt((2 * level) / scale[1]) * Math.sin(angle),
    ];
  });
}

/** Descent in θ, ascent in λ, from the old task's minimum. */
function train(steps, control, { rate = 0.06, lambda: start = 0 } = {}) {
  let [theta, state] = [[0, 0], { lambda: start, memory: { integral: 0, smoothed: null } }];
  const rows = [];
  for (let step = 0; step < steps; step++) {
    const [gt, gr] = [gradient(TASK, theta), gradient(RETAIN, theta)];
    const loss = value(RETAIN, theta);
    rows.push({ step, theta, lambda: state.lambda, loss });
    theta = theta.map((coordinate, i) => coordinate - rate * (gt[i] + state.lambda * gr[i]));
    state = control(state, loss);
  }
  return rows;
}

function projection() {
  const range = { x: [-0.4, 3.2], y: [-1.2, 1.5] };
  const panels = [
    ['conflict: g_t loses its part against g_r', [2, -0.95], true],
    ['no conflict: g_t stays as it is', [1.5, 0.6], false],
  ].map(([title, task, conflict], i) => {
    const panel = new Panel({ left: 20 + i * 390, top: 40, width: 350, height: 262.5 }, range);
    const retain = [0, 1.1];
    const kept = conflict ? [task[0], 0] : task;
    const merged = [kept[0], kept[1] + 0.6 * retain[1]];
    panel
      .area(
        [
          [-0.4, 0],
          [3.2, 0],
          [3.2, -1.2],
          [-0.4, -1.2],
        ],
        'bad',
      )
      .title(title)
      .line(
        [
          [-0.4, 0],
          [3.2, 0],
        ],
        'axis',
      )
      .text([3.18, 0], 'L_retain stays', { classes: 'soft', anchor: 'end', dy: -7 })
      .text([-0.35, -1.2], 'a step along −g here raises L_retain', { classes: 'soft', dy: -9 });
    if (conflict) panel.line([task, kept], 'thin c4 dash').arrow([0, 0], kept, 0, 'dash');
    panel
      .line([kept, merged], 'thin c4 dash')
      .arrow([0, 0], retain, 1)
      .arrow([0, 0], task, 0)
      .arrow([0, 0], merged, 2)
      .text(retain, 'g_r', { classes: 'm', dx: -28, dy: 6 })
      .text(task, 'g_t', { classes: 'm', dx: 8, dy: conflict ? 8 : 14 })
      .text(merged, conflict ? "g = g_t' + λ g_r" : 'g = g_t + λ g_r', { classes: 'm', dx: -62, dy: -10 });
    if (conflict) panel.text(kept, "g_t'", { classes: 'm', dx: 8, dy: 20 });
    return panel;
  });
  return figure(780, 320, 'Projection of the task gradient', panels);
}

function lagrangian() {
  const panel = new Panel(
    { left: 20, top: 20, width: 720, height: 545.8 },
    { x: [-1.7, 4.5], y: [-1.95, 2.75] },
  );
  const best = minimiser(LAMBDA);
  const [gt, gr] = [gradient(TASK, best), gradient(RETAIN, best)];
  const unit = (vector, length) => vector.map((part) => (part / Math.hypot(...vector)) * length);
  const from = (vector) => best.map((coordinate, i) => coordinate + vector[i]);
  panel.area(ellipse(RETAIN, EPSILON), 'area');
  for (const level of [0.1, 0.4]) panel.line(ellipse(RETAIN, level), 'thin c2');
  panel.line(ellipse(RETAIN, EPSILON), 'line c2');
  for (const level of [0.08, 0.3, value(TASK, best)]) panel.line(ellipse(TASK, level), 'thin c0');
  const plain = train(400, (state) => state).map(({ theta }) => theta);
  const bound = train(
    2000,
    ({ lambda }, loss) => ({
      lambda: updateLambda(lambda, loss, EPSILON, 0.03, 10),
    }),
    { lambda: 1 },
  );
  panel.line(plain, 'line c4 dash').line(
    bound.map(({ theta }) => theta),
    'line c3',
  );
  panel.arrow(best, from(unit(gt, -0.62)), 0).arrow(best, from(unit(gr, -0.62)), 1);
  panel.dot(RETAIN.center, 2).dot(TASK.center, 0).dot(best, 3, 5.5);
  panel
    .text(RETAIN.center, 'old task', { anchor: 'end', dx: -9, dy: 5 })
    .text(TASK.center, 'plain fine-tuning ends here', { anchor: 'middle', dy: -12 })
    .text([-1.05, 0.98], 'L_retain ≤ ε', { classes: 'm' })
    .text(best, 'θ_*', { classes: 'm', dx: 2, dy: -14 })
    .text(from(unit(gt, -0.62)), '−g_t', { classes: 'm', dx: 6, dy: 18 })
    .text(from(unit(gr, -0.62)), '−λ g_r', { classes: 'm', dx: -66, dy: 4 });
  return figure(760, 580, 'The constrained problem', [panel]);
}

function dual() {
  const d = (lambda) =>
    value(TASK, minimiser(lambda)) + lambda * (value(RETAIN, minimiser(lambda)) - EPSILON);
  const left = new Panel({ left: 60, top: 40, width: 300, height: 260 }, { x: [0, 3], y: [-0.2, 1.9] });
  left
    .axes({
      x: [
        [0, '0'],
        [LAMBDA, 'λ_*'],
        [3, '3'],
      ],
      y: [
        [0, '0'],
        [d(LAMBDA), 'd(λ_*)'],
      ],
      xLabel: 'λ',
      yLabel: 'd(λ)',
    })
    .curve(d, 'c0');
  for (const at of [0.15, LAMBDA, 2.4]) {
    const slope = value(RETAIN, minimiser(at)) - EPSILON;
    const reach = 0.32 / Math.hypot(1, slope);
    left
      .line(
        [
          [at - reach, d(at) - reach * slope],
          [at + reach, d(at) + reach * slope],
        ],
        'line c1',
      )
      .dot([at, d(at)], 1, 4);
  }
  left
    .text([0.32, 0.34], 'slope L_retain − ε > 0: λ rises', { classes: 'soft' })
    .text([2.98, 1.15], 'slope < 0: λ falls', { classes: 'soft', anchor: 'end' });
  const right = new Panel({ left: 450, top: 40, width: 300, height: 260 }, { x: [0, 3], y: [0, 3] });
  const points = Array.from({ length: 241 }, (_, i) => minimiser(6 * (i / 240) ** 2))
    .map((theta) => [value(RETAIN, theta), value(TASK, theta)])
    .filter(([retain]) => retain <= 3);
  const best = [EPSILON, value(TASK, minimiser(LAMBDA))];
  right
    .area(
      [
        [0, 0],
        [EPSILON, 0],
        [EPSILON, 3],
        [0, 3],
      ],
      'area',
    )
    .axes({
      x: [
        [0, '0'],
        [EPSILON, 'ε'],
      ],
      y: [[0, '0']],
      xLabel: 'L_retain',
      yLabel: 'L_task',
    })
    .line(points, 'line c0')
    .line(
      [
        [0, best[1] + LAMBDA * best[0]],
        [best[0] + best[1] / LAMBDA, 0],
      ].map(([x, y]) => [x, y]),
      'line c1 dash',
    )
    .dot(best, 3, 5.5)
    .text([1.25, 1.15], 'slope −λ_*', { classes: 'm', dx: 6, dy: -4 })
    .text([0.28, 2.55], 'what can be reached', { classes: 'soft', dx: 6 })
    .text([0.1, 0.2], 'allowed', { classes: 'soft' });
  return figure(780, 350, 'The dual problem', [left, right]);
}

function schedules() {
  const panel = new Panel({ left: 60, top: 30, width: 620, height: 280 }, { x: [0, 1.25], y: [0, 1.1] });
  panel.axes({
    x: [
      [0, '0'],
      [0.25, ''],
      [0.5, 'T/2'],
      [1, 'T'],
      [1.25, ''],
    ],
    y: [
      [0.2, 'ε_1'],
      [1, 'ε_0'],
    ],
    xLabel: 't',
    yLabel: 'ε(t)',
  });
  const names = ['linear', 'cosine', 'exponential', 'constant'];
  for (const [i, name] of names.entries()) {
    panel.curve((p) => epsilonSchedule(p * 1e4, 1, 0.2, 1e4, name), `c${i}`);
  }
  panel
    .text([0.47, 0.7], 'linear', { dx: 4, dy: 0 })
    .text([0.22, 0.95], 'cosine', { dx: 14, dy: 10 })
    .text([0.2, 0.5], 'exponential', { dx: 14, dy: -6 })
    .text([1.05, 1], 'constant', { dy: -8 });
  return figure(760, 370, 'Schedules of ε compared', [panel]);
}

function control() {
  const steps = 700;
  const slow = { rate: 0.02 };
  const gradientRows = train(
    steps,
    ({ lambda }, loss) => ({ lambda: updateLambda(lambda, loss, EPSILON, 0.03, 10) }),
    slow,
  );
  const gains = { kp: 2, ki: 0.03, kd: 0, smoothing: 0 };
  const pidRows = train(steps, ({ memory }, loss) => pidLambda(memory, loss, EPSILON, gains, 10), slow);
  const ticks = [
    [0, '0'],
    [350, '350'],
    [700, '700'],
  ];
  const left = new Panel({ left: 60, top: 40, width: 300, height: 240 }, { x: [0, steps], y: [0, 3] });
  left
    .axes({
      x: ticks,
      y: [
        [0, '0'],
        [LAMBDA, 'λ_*'],
        [3, '3'],
      ],
      xLabel: 't',
      yLabel: 'λ',
    })
    .line(
      gradientRows.map(({ step, lambda }) => [step, lambda]),
      'line c0',
    )
    .line(
      pidRows.map(({ step, lambda }) => [step, lambda]),
      'line c1',
    );
  const right = new Panel({ left: 450, top: 40, width: 300, height: 240 }, { x: [0, steps], y: [0, 2.4] });
  right
    .axes({
      x: ticks,
      y: [
        [0, '0'],
        [EPSILON, 'ε'],
      ],
      xLabel: 't',
      yLabel: 'L_retain',
    })
    .line(
      [
        [0, EPSILON],
        [steps, EPSILON],
      ],
      'thin c4 dash',
    )
    .line(
      gradientRows.map(({ step, loss }) => [step, loss]),
      'line c0',
    )
    .line(
      pidRows.map(({ step, loss }) => [step, loss]),
      'line c1',
    )
    .text([490, 2.2], 'gradient')
    .text([490, 1.95], 'pid')
    .line(
      [
        [420, 2.24],
        [480, 2.24],
      ],
      'line c0',
    )
    .line(
      [
        [420, 1.99],
        [480, 1.99],
      ],
      'line c1',
    );
  return figure(780, 330, 'Control of λ compared', [left, right]);
}

const FIGURES = { projection, lagrangian, dual, schedules, control };

const check = process.argv.includes('--check');
const folder = fileURLToPath(new URL('../docs/figures/', import.meta.url));
mkdirSync(folder, { recursive: true });
for (const [name, draw] of Object.entries(FIGURES)) {
  const path = `${folder}${name}.svg`;
  const wanted = draw();
  if (!check) {
    writeFileSync(path, wanted);
  } else if (readFileSync(path, 'utf8') !== wanted) {
    console.error(`docs/figures/${name}.svg is out of date: run npm run docs:figures`);
    process.exitCode = 1;
  }
}
