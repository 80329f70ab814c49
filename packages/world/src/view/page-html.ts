import { createHash } from 'node:crypto';
import { ENTRY, IMPORT_MAP } from './assets.js';
import { PAGE_STYLE } from './page-style.js';

const imports = JSON.stringify({ imports: IMPORT_MAP });
const digest = createHash('sha256').update(imports).digest('base64');

/** Nothing from elsewhere. MuJoCo's bindings make functions at run time, hence `unsafe-eval`. */
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
