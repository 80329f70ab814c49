import { wilsonInterval } from '@craft-ft/policies';
import { formatPercent, type Html, html, type Part, raw } from './html.js';

/** A number shown in a tile of its own. */
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
interface Outcome {
  successes: number;
  trials: number;
}

/** A policy and its outcomes, one per task; null where it was not evaluated. */
interface PolicyOutcomes {
  policy: string;
  outcomes: readonly (Outcome | null)[];
}

/**
 * Success rates, policies down and tasks across, each with its number of trials and Wilson's 95 % interval below it. If two intervals
 * overlap widely, the rates are not known to differ.
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

/** A recording shown on the page. */
export interface Video {
  title: string;
  /** A line below the title. */
  detail?: string;
  /** The file's bytes, embedded in the page, so a few hundred kilobytes at most. */
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

/** A collapsible block, initially closed unless `open`, for long tables. */
export function fold(title: string, detail: string, body: Html, open = false): Html {
  return html`<details ${open && raw('open')}><summary>${title}<small>${detail}</small></summary>${body}</details>`;
}

/** A configuration by dotted names, one level of groups deep: `craft.lambda_max`. Deeper values stay as they are. */
export function flattenConfig(config: unknown): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [name, value] of Object.entries(config ?? {})) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [field, inner] of Object.entries(value)) flat.set(`${name}.${field}`, inner);
    } else flat.set(name, value);
  }
  return flat;
}

/** A configuration with the name of its run. */
interface NamedConfig {
  name: string;
  config: ReadonlyMap<string, unknown>;
}

/** The output location differs in every run and says nothing about it. */
const OWN = new Set(['output_dir', 'job_name']);

/** Configurations as tables, one per group; with several runs, differing values come first and are marked. */
export function configTables(configs: readonly NamedConfig[]): Html {
  const names = [...new Set(configs.flatMap(({ config }) => [...config.keys()]))];
  const rows = names.map((name) => {
    const values = configs.map(({ config }) => show(config.get(name)));
    return { name, values, differs: new Set(values).size > 1 && !OWN.has(name) };
  });
  const columns = ['field', ...(configs.length === 1 ? ['value'] : configs.map(({ name }) => name))];
  const asTable = (chosen: typeof rows, mark: boolean) =>
    table(
      columns,
      chosen.map(({ name, values, differs }) => ({ cells: [name, ...values], differs: mark && differs })),
      'text',
    );
  const different = rows.filter(({ differs }) => differs);
  const groupOf = (name: string) => (name.includes('.') ? name.split('.')[0]! : 'run');
  const groups = [...new Set(names.map(groupOf))].sort((a, b) => rank(a) - rank(b));
  return html`${configs.length > 1 && (different.length > 0 ? asTable(different, false) : html`<p>All fields are the same.</p>`)}
${groups.map((group) => {
  const members = rows.filter(({ name }) => groupOf(name) === group);
  const open = configs.length === 1 && group === 'craft';
  return fold(group, `${members.length} fields`, asTable(members, configs.length > 1), open);
})}`;
}

const FIRST = ['craft', 'run', 'dataset', 'policy', 'optimizer', 'scheduler'];

function rank(group: string): number {
  const place = FIRST.indexOf(group);
  return place < 0 ? FIRST.length : place;
}

function show(value: unknown): string {
  if (value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
