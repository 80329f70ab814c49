import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CraftError } from '@craft-ft/torch/errors';

/** Files that the page may request, by URL path. Nothing else on the disk is accessible. */
export type Assets = ReadonlyMap<string, string>;

/** The modules that the page imports by name, and where they are served. */
const IMPORT_MAP: Readonly<Record<string, string>> = {
  three: '/modules/three/three.module.js',
  'three/addons/controls/OrbitControls.js': '/modules/three/OrbitControls.js',
  '@mujoco/mujoco': '/modules/mujoco/mujoco.js',
  '@craft-ft/torch/errors': '/modules/torch/errors.js',
};

/** The page's entry. */
const ENTRY = '/world/view/page/main.js';

/** The page's look; colours follow the browser's light or dark setting. */
const PAGE_STYLE = `
:root { color-scheme: light dark; --paper: #f4f5f7; --card: #fff; --ink: #1c2430; --soft: #5a6675; --line: #d5dae1; --accent: #2563b8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161a20; --card: #20262e; --ink: #e8ecf1; --soft: #a3aebb; --line: #39424e; --accent: #6aa5f2; }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body { display: grid; grid-template-columns: 1fr 372px; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
main { display: grid; grid-template-rows: 1fr auto; min-width: 0; min-height: 0; }
#view { position: relative; min-height: 0; overflow: hidden; }
#stage { display: block; width: 100%; height: 100%; touch-action: none; }
#view p { position: absolute; left: 16px; margin: 0; padding: 5px 12px; border-radius: 6px; background: var(--card);
  box-shadow: 0 1px 4px #0003; }
#instruction { top: 14px; font-weight: 600; font-size: 16px; }
#instruction:empty { display: none; }
#badge { top: 54px; color: #fff; font-weight: 600; }
#badge[data-kind=wait] { background: #5a6675; }
#badge[data-kind=good] { background: #1f7a3a; }
#badge[data-kind=bad] { background: #b3261e; }
#message { bottom: 14px; right: 16px; background: #b3261e; color: #fff; }
#transport { display: flex; gap: 8px; align-items: center; padding: 10px 16px; background: var(--card);
  border-top: 1px solid var(--line); }
#scrub { flex: 1; min-width: 60px; accent-color: var(--accent); }
#time { min-width: 12.5em; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
aside { overflow-y: auto; padding: 14px 16px; background: var(--card); border-left: 1px solid var(--line); }
h1 { margin: 0 0 10px; font-size: 18px; }
h2 { margin: 18px 0 6px; font-size: 14px; }
aside p { margin: 4px 0 8px; color: var(--soft); font-size: 13px; }
#choice label { display: grid; grid-template-columns: 4.4em 1fr; align-items: center; margin-bottom: 6px; }
#choice select { min-width: 0; width: 100%; }
#note::first-letter { text-transform: uppercase; }
.row { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; margin-left: 4.4em; }
button, select, input[type=number] { font: inherit; color: inherit; padding: 4px 8px; border: 1px solid var(--line);
  border-radius: 5px; background: var(--paper); }
button { cursor: pointer; min-width: 2.6em; }
button:disabled { opacity: 0.45; cursor: default; }
button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: #fff; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
figure { margin: 0; }
figure canvas { display: block; width: 100%; border-radius: 4px; background: var(--line); }
figcaption { color: var(--soft); font-size: 12px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
#live { width: 100%; margin-bottom: 8px; }
#joints label { display: grid; grid-template-columns: 7.5em 1fr 4em; gap: 6px; align-items: center; font-size: 13px; }
#joints input { min-width: 0; width: 100%; accent-color: var(--accent); }
#joints output { text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 800px) {
  html, body { height: auto; }
  body { grid-template-columns: 1fr; }
  #view { height: 60vh; }
  aside { border-left: 0; border-top: 1px solid var(--line); }
  #transport { flex-wrap: wrap; }
}
`;

const imports = JSON.stringify({ imports: IMPORT_MAP });
const digest = createHash('sha256').update(imports).digest('base64');

/** Nothing may be loaded from elsewhere. MuJoCo's bindings create functions at run time, hence `unsafe-eval`. */
export const CONTENT_SECURITY_POLICY =
  `default-src 'self'; script-src 'self' 'unsafe-eval' 'sha256-${digest}'; style-src 'self' 'unsafe-inline'; ` +
  `img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;

/** The viewer's page; its modules fill it. */
export const PAGE_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CRaFT world</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
<script type="importmap">${imports}</script>
<script type="module" src="${ENTRY}"></script>
</head>
<body data-state="loading">
<main>
  <div id="view">
    <canvas id="stage" aria-label="The tabletop; drag to turn, wheel to zoom, right button to move"></canvas>
    <p id="instruction"></p>
    <p id="badge" role="status" data-kind="wait">loading</p>
    <p id="message" role="alert" hidden></p>
  </div>
  <div id="transport">
    <button id="start" title="To the start (Home)" aria-label="To the start">|◀</button>
    <button id="back" title="One frame back (←)" aria-label="One frame back">◁</button>
    <button id="play" title="Play or pause (space)" aria-label="Play or pause">▶</button>
    <button id="forward" title="One frame on (→)" aria-label="One frame on">▷</button>
    <input id="scrub" type="range" min="0" max="0" value="0" step="1" aria-label="Frame">
    <output id="time"></output>
    <label>Speed <select id="speed">
      <option value="0.1">0.1×</option><option value="0.25">0.25×</option><option value="0.5">0.5×</option>
      <option value="1" selected>1×</option><option value="2">2×</option><option value="4">4×</option>
    </select></label>
  </div>
</main>
<aside>
  <h1>CRaFT world</h1>
  <section id="choice">
    <label>Source <select id="source"></select></label>
    <label class="seeded">Task <select id="task"></select></label>
    <label class="seeded">Seed <input id="seed" type="number" min="0" step="1" required></label>
    <label class="numbered">Episode <input id="episode" type="number" min="0" step="1" required></label>
    <div class="row"><button id="previous">Previous</button><button id="next">Next</button></div>
    <p id="note" hidden></p>
  </section>
  <section>
    <h2>Cameras</h2>
    <div id="cameras" class="pictures"></div>
  </section>
  <section id="recorded" hidden>
    <h2>Recorded pictures</h2>
    <div id="recordings" class="pictures"></div>
  </section>
  <section>
    <h2>Physics</h2>
    <p>Goes on from the frame shown, with the arm in your hands.</p>
    <button id="live" aria-pressed="false">Run physics from here</button>
    <div id="joints"></div>
  </section>
</aside>
</body>
</html>
`;

/** This package's compiled modules, three.js and MuJoCo. @throws CraftError `VIEW_PAGE` if they are not compiled */
export function pageAssets(): Assets {
  const require = createRequire(import.meta.url);
  // The same whether run from the sources or from the compiled files.
  const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
  const three = dirname(require.resolve('three'));
  const mujoco = dirname(require.resolve('@mujoco/mujoco'));
  const assets = new Map([
    ['/modules/three/three.module.js', join(three, 'three.module.js')],
    ['/modules/three/three.core.js', join(three, 'three.core.js')],
    ['/modules/three/OrbitControls.js', join(three, '../examples/jsm/controls/OrbitControls.js')],
    ['/modules/mujoco/mujoco.js', join(mujoco, 'mujoco.js')],
    ['/modules/mujoco/mujoco.wasm', join(mujoco, 'mujoco.wasm')],
    ['/modules/torch/errors.js', require.resolve('@craft-ft/torch/errors')],
    ...modules(dist),
  ]);
  if (!assets.has(ENTRY)) {
    throw new CraftError(
      'VIEW_PAGE',
      `${join(dist, 'view/page')}: the page is not compiled; run npm run build`,
    );
  }
  return assets;
}

function modules(dist: string): [string, string][] {
  if (!existsSync(dist)) return [];
  return readdirSync(dist, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.js'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => [`/world/${relative(dist, file).split(sep).join('/')}`, file]);
}
