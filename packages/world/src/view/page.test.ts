import { expect, test } from 'vitest';
import { chromium, Tab } from '../../test/chromium.js';
import { expertSource } from './episode-sources.js';
import { serveView } from './serve.js';

test.skipIf(chromium === null)('the page plays the expert, and runs physics, in a browser', async () => {
  const server = await serveView({ sources: [expertSource()], first: { task: 'press-button', seed: 3 } });
  const tab = await Tab.open(server.url, 640, 480);
  try {
    await tab.until("document.body.dataset.state === 'ready'");
    await tab.until("document.getElementById('badge').textContent === 'success'");
    expect(await tab.evaluate("document.getElementById('instruction').textContent")).toBe('Press the button');
    // Four cameras, drawn in the browser: none of one colour.
    const colours =
      "[...document.querySelectorAll('#cameras canvas')].map((canvas) => new Set(new Uint32Array(" +
      "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size)";
    const found = (await tab.evaluate(colours)) as number[];
    expect(found).toHaveLength(4);
    expect(Math.min(...found)).toBeGreaterThan(20);
    // The first frame is no success; physics with the servos holding still makes none of it.
    await tab.evaluate("document.getElementById('start').click()");
    await tab.until("document.getElementById('badge').textContent === 'under way'");
    // The arrow keys still reach the player after a button has been clicked.
    const press = "new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true })";
    await tab.evaluate(`document.getElementById('start').dispatchEvent(${press})`);
    await tab.until("document.getElementById('time').value.includes('frame 1 of')");
    await tab.evaluate("document.getElementById('live').click()");
    await tab.until("document.getElementById('badge').textContent === 'physics'");
    expect((await tab.screenshot()).length).toBeGreaterThan(20_000);
    expect(tab.complaints).toEqual([]);
  } finally {
    await tab.close();
    await server.close();
  }
});
