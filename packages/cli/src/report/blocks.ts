import { wilsonInterval } from '@craft-ft/world/wilson';
import { formatPercent } from './format.js';
import { type Html, html, type Part, raw } from './html.js';

/** A number that is worth a tile of its own. */
export interface Tile {
  label: string;
  value: string;
  /** A line below the value. */
  detail?: string;
  mood?: 'good' | 'bad';
}

/** Tiles in a row. */
export function tiles(list: readonly Tile[]): Html {
  return html`<div class="tiles">${list.map(
    ({ label, value, detail, mood }) =>
      html`<div class="tile ${mood}"><span>${label}</span><b>${value}</b>${detail !== undefined && html`<span>${detail}</span>`}</div>`,
  )}</div>`;
}

/** A table; the first column names the row. `text`: values are words, not numbers. `differs` marks rows. */
export function table(
  columns: readonly Part[],
  rows: readonly { cells: readonly Part[]; differs?: boolean }[],
  kind: 'numbers' | 'text' = 'numbers',
): Html {
  const cell = kind === 'text' ? 'text' : '';
  return html`<div class="scroll"><table>
<thead><tr>${columns.map((column) => html`<th class="${cell}">${column}</th>`)}</tr></thead>
<tbody>${rows.map(
    ({ cells: [name, ...values], differs }) =>
      html`<tr class="${differs === true && 'differs'}"><th class="${cell}">${name}</th>${values.map((value) => html`<td class="${cell}">${value}</td>`)}</tr>${raw('\n')}`,
  )}</tbody>
</table></div>`;
}

/** How often a policy succeeded at a task. */
export interface Outcome {
  successes: number;
  trials: number;
}

/** A policy and its outcomes, one per task; null where it was not tried. */
export interface PolicyOutcomes {
  policy: string;
  outcomes: readonly (Outcome | null)[];
}

/**
 * Success rates, policies down and tasks across, each with its trials and Wilson's 95 % interval drawn below it. Two rates whose intervals
 * overlap widely are not known to differ.
 */
export function successTable(tasks: readonly string[], policies: readonly PolicyOutcomes[]): Html {
  const rows = policies.map(({ policy, outcomes }) => ({
    cells: [policy, ...tasks.map((_, i) => outcomeCell(outcomes[i] ?? null))],
  }));
  return table(['policy', ...tasks], rows);
}

function outcomeCell(outcome: Outcome | null): Part {
  if (outcome === null) return '–';
  const { successes, trials } = outcome;
  const [low, high] = wilsonInterval(successes, trials);
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const rate = trials === 0 ? 0 : successes / trials;
  return html`${trials === 0 ? '–' : formatPercent(rate)}<small>${successes} of ${trials}; ${formatPercent(low)} to ${formatPercent(high)}</small>
<span class="meter"><i style="left:${percent(low)};width:${percent(high - low)}"></i><u style="left:${percent(rate)}"></u></span>`;
}

/** A recording to be shown in the page. */
export interface Video {
  title: string;
  /** A line below the title. */
  detail?: string;
  /** The file's bytes; they become part of the page, so a few hundred kilobytes at most. */
  bytes: Uint8Array;
  /** Default `video/mp4`. */
  type?: string;
}

/** Recordings side by side, played without sound in a loop. */
export function videoGallery(videos: readonly Video[]): Html {
  return html`<div class="videos">${videos.map(
    ({ title, detail, bytes, type = 'video/mp4' }) => html`<figure>
<video src="data:${type};base64,${Buffer.from(bytes).toString('base64')}" autoplay loop muted playsinline controls></video>
<figcaption>${title}${detail !== undefined && html`<small>${detail}</small>`}</figcaption>
</figure>`,
  )}</div>`;
}

/** A block that is closed at first (or open), for long tables. */
export function fold(title: string, detail: string, body: Html, open = false): Html {
  return html`<details ${open && raw('open')}><summary>${title}<small>${detail}</small></summary>${body}</details>`;
}
