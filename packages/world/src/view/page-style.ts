/** The page's look; colours follow the browser's light or dark setting. */
export const PAGE_STYLE = `
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
