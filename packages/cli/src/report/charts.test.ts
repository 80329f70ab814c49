import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  escapeHtml,
  formatCount,
  formatDuration,
  formatNumber,
  formatPercent,
  html,
  jsonScript,
} from './html.js';
import { downsample, lineChart } from './line-chart.js';
import { linearScale, logScale, position } from './plot.js';

const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });

test('numbers are written for people', () => {
  const texts = [0, 0.123456, 1e-5, -2.5e-4, 123456, 7].map((value) => formatNumber(value));
  expect(texts).toEqual(['0', '0.1235', '10⁻⁵', '−2.5·10⁻⁴', '1.23·10⁵', '7']);
  expect([0, 999, 1200, 2.5e6, 3e9].map(formatCount)).toEqual(['0', '999', '1.2k', '2.5M', '3G']);
  expect([0, 0.018, 0.5, 1].map(formatPercent)).toEqual(['0 %', '1.8 %', '50 %', '100 %']);
  expect([0.0093, 5.64, 42.4, 200, 18720].map(formatDuration)).toEqual([
    '9.3 ms',
    '5.6 s',
    '42 s',
    '3 min 20 s',
    '5 h 12 min',
  ]);
});

test('an axis holds its values, between ticks of 1, 2 or 5 times a power of ten', () => {
  expect(linearScale(0.13, 0.42, 5).ticks).toEqual([0.1, 0.2, 0.3, 0.4, 0.5]);
  expect(linearScale(0, 600, 6, true)).toMatchObject({
    min: 0,
    max: 600,
    ticks: [0, 100, 200, 300, 400, 500, 600],
  });
  expect(logScale(0.002, 30)).toMatchObject({ min: 0.001, max: 100, ticks: [0.001, 0.01, 0.1, 1, 10, 100] });
  fc.assert(
    fc.property(finite, finite, (a, b) => {
      const scale = linearScale(Math.min(a, b), Math.max(a, b), 5);
      expect(position(a, scale)).toBeGreaterThanOrEqual(-1e-9);
      expect(position(a, scale)).toBeLessThanOrEqual(1 + 1e-9);
      expect(scale.ticks.length).toBeLessThanOrEqual(8);
    }),
  );
});

test('downsampling keeps means, extremes and order', () => {
  fc.assert(
    fc.property(
      fc.array(finite, { minLength: 1, maxLength: 200 }),
      fc.integer({ min: 1, max: 50 }),
      (values, limit) => {
        const points = downsample(
          values.map((value, i) => [i, value] as const),
          limit,
        );
        expect(points.length).toBe(Math.min(limit, values.length));
        expect(Math.min(...points.map(({ low }) => low))).toBe(Math.min(...values));
        expect(Math.max(...points.map(({ high }) => high))).toBe(Math.max(...values));
        expect(points.every(({ low, y, high }) => low <= y && y <= high)).toBe(true);
        expect(points.every(({ x }, i) => i === 0 || x > points[i - 1]!.x)).toBe(true);
      },
    ),
  );
});

test('values that are not finite are left out', () => {
  expect(
    downsample(
      [
        [1, Number.NaN],
        [2, 3],
        [3, Number.POSITIVE_INFINITY],
      ],
      10,
    ),
  ).toEqual([{ x: 2, y: 3, low: 3, high: 3 }]);
});

test('text is escaped in elements, attributes and data; markup is kept', () => {
  const evil = `</script><img src=x onerror="alert('1')">`;
  expect(escapeHtml(evil)).not.toMatch(/[<>"']/);
  expect(html`<b title="${evil}">${[evil, html`<i>${1}</i>`]}${null}${false}</b>`.markup).toBe(
    `<b title="${escapeHtml(evil)}">${escapeHtml(evil)}<i>1</i></b>`,
  );
  expect(jsonScript({ evil }).markup.match(/<\/script>/g)).toHaveLength(1);
});

test('a chart has a line per series, a mark per level in sight, and the numbers for the readout', () => {
  const chart = lineChart({
    title: 'loss & ε',
    series: [
      {
        label: 'one',
        color: 0,
        samples: [
          [1, 0.5],
          [2, 0.25],
        ],
      },
      {
        label: 'two',
        color: 1,
        samples: [
          [1, 0.4],
          [2, 0.4],
        ],
        dashed: true,
      },
      { label: 'none', color: 2, samples: [] },
    ],
    levels: [
      { label: 'near', value: 0.3 },
      { label: 'far', value: 1000 },
    ],
  })!.markup;
  expect(chart.match(/<path/g)).toHaveLength(2);
  expect(chart).toContain('near 0.3');
  expect(chart).not.toContain('far');
  expect(chart).toContain('loss &amp; ε');
  const data = JSON.parse(/json">(.*?)<\/script>/.exec(chart)![1]!) as { series: { points: unknown[] }[] };
  expect(data.series.map(({ points }) => points.length)).toEqual([2, 2]);
  expect(chart).not.toContain('NaN');
});

test('a chart without points is none; one with a single point or constant values still shows', () => {
  expect(lineChart({ title: 'empty', series: [{ label: 'a', color: 0, samples: [] }] })).toBeNull();
  for (const samples of [
    [[5, 0]],
    [
      [1, 7],
      [2, 7],
    ],
  ] as const) {
    const { markup } = lineChart({ title: 'flat', series: [{ label: 'a', color: 0, samples }] })!;
    expect(markup).not.toContain('NaN');
    expect(markup).not.toContain('Infinity');
  }
});
