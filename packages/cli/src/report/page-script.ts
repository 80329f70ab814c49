/**
 * The script of a page: a readout of the values under the pointer of every chart. Plain JavaScript, since it goes into the page as
 * it is; the page is complete without it.
 */
export const PAGE_SCRIPT = `
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
