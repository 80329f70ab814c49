import { basename, dirname, join, relative, resolve } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { configTables, type Tile, table, tiles } from './blocks.js';
import { formatDuration, formatNumber, formatPercent, type Html, html } from './html.js';
import { chartGrid } from './line-chart.js';
import { renderPage, type Section } from './page.js';
import { type RunData, type RunSource, readRun } from './read-run.js';
import { runCharts } from './run-charts.js';
import { constraintState, type RunSummary, summarize } from './summary.js';

/** Additional content of a page. */
interface ReportOptions {
  /** Sections between the numbers and the curves: success rates, videos. */
  sections?: readonly Section[];
  /** Lines below the numbers, as the run printed them. */
  lines?: readonly string[];
}

/**
 * The page of one run, or of several compared: numbers, curves, configuration.
 *
 * @param runs at least one; their names must be distinct
 * @returns the complete HTML
 */
export function runReport(
  runs: readonly RunData[],
  { sections = [], lines = [] }: ReportOptions = {},
): string {
  const [run] = runs;
  const single = runs.length === 1 && run !== undefined;
  const known = runs.flatMap(({ name, config }) => (config === null ? [] : [{ name, config }]));
  const numbers: Section = {
    title: single ? 'In numbers' : 'The runs in numbers',
    body: single
      ? html`${tiles(tilesOf(summarize(run)))}${lines.length > 0 && printed(lines)}`
      : comparison(runs),
  };
  return renderPage({
    title: single ? run.name : runs.map(({ name }) => name).join(' · '),
    subtitle: single ? subtitle(run) : `${runs.length} runs compared`,
    notes: runs.flatMap(({ name, notes }) => notes.map((note) => (single ? note : `${name}: ${note}`))),
    sections: [
      numbers,
      ...sections,
      { title: 'Curves', body: chartGrid(runCharts(runs)) },
      ...(known.length === 0
        ? []
        : [{ title: single ? 'Configuration' : 'Configuration: what differs', body: configTables(known) }]),
    ],
    footer:
      'Where a curve has a band, each point is the mean of neighbouring steps and the band is what they span.',
  });
}

function printed(lines: readonly string[]): Html {
  return html`<ul>${lines.map((line) => html`<li>${line}</li>`)}</ul>`;
}

function subtitle({ folder, config }: RunData): string {
  const policy = config?.get('policy.type');
  const parts = [
    config?.get('craft.enabled') === true ? `${policy} with CRaFT` : policy,
    config?.get('dataset.repo_id'),
    folder,
  ];
  return parts.filter((part) => typeof part === 'string').join(' · ');
}

function tilesOf(summary: RunSummary): Tile[] {
  const { taskLoss: loss, retention, steps, seconds, secondsPerStep, dataShare } = summary;
  const list: Tile[] = [];
  if (loss !== null) {
    list.push({
      label: 'task loss',
      value: `${formatNumber(loss.first.mean, 3)} → ${formatNumber(loss.last.mean, 3)}`,
      detail: `steps ${loss.first.from}–${loss.first.to} → ${loss.last.from}–${loss.last.to}`,
    });
  }
  if (retention !== null) {
    const { start, last, lastEpsilon, lambda, epsilon, count, conflictShare, meanCosine, atBound } =
      retention;
    const state = constraintState(retention);
    list.push(
      {
        label: 'retention loss',
        value: `${start === null ? '' : `${formatNumber(start, 3)} → `}${formatNumber(last, 3)}`,
        detail: 'before the run → last tenth',
      },
      {
        label: 'constraint at the end',
        value: state.text,
        detail: `ε ${formatNumber(lastEpsilon, 3)} in the last tenth`,
        mood: state.met ? 'good' : 'bad',
      },
      {
        label: 'λ',
        value: `${formatNumber(lambda.min, 3)} – ${formatNumber(lambda.max, 3)}`,
        detail:
          atBound > 0
            ? `at lambda_max in ${formatPercent(atBound)} of the steps`
            : `${formatNumber(lambda.last, 3)} at the end`,
      },
      { label: 'ε', value: spanOf(epsilon), detail: `${count} retention steps` },
      {
        label: 'steps in conflict',
        value: formatPercent(conflictShare),
        detail: `mean cosine ${formatNumber(meanCosine, 3)}`,
      },
    );
  }
  list.push({
    label: 'time in steps',
    value: formatDuration(seconds),
    detail: `${steps} steps, ${formatDuration(secondsPerStep)} each; ${formatPercent(dataShare)} waiting`,
  });
  return list;
}

function spanOf({ min, max }: { min: number; max: number }): string {
  return min === max ? formatNumber(min, 3) : `${formatNumber(max, 3)} → ${formatNumber(min, 3)}`;
}

function comparison(runs: readonly RunData[]): Html {
  const rows = runs.map((run) => {
    const { taskLoss: loss, retention, steps, seconds, secondsPerStep } = summarize(run);
    return {
      cells: [
        run.name,
        steps,
        loss === null ? '–' : formatNumber(loss.last.mean),
        retention?.start == null ? '–' : formatNumber(retention.start),
        retention === null ? '–' : formatNumber(retention.last),
        retention === null ? '–' : formatNumber(retention.lastEpsilon),
        retention === null ? '–' : constraintState(retention).text,
        retention === null ? '–' : formatNumber(retention.lambda.last),
        retention === null ? '–' : formatPercent(retention.conflictShare),
        retention === null ? '–' : formatNumber(retention.meanCosine, 3),
        formatDuration(seconds),
        formatDuration(secondsPerStep),
      ],
    };
  });
  const columns = [
    'run',
    'steps',
    'task loss',
    'L_retain before',
    'L_retain',
    'ε',
    'constraint',
    'λ',
    'in conflict',
    'mean cosine',
    'time',
    'per step',
  ];
  return html`${table(columns, rows)}<p>Losses and ε are means over the last tenth of a run (at least one line of the log), λ is its last value.</p>`;
}

/** Name of the page in a run's folder. */
export const REPORT_FILE = 'report.html';

/**
 * Reads runs and writes the page that shows or compares them.
 *
 * @param folders `output_dir`s of runs
 * @returns the runs, as read
 * @throws CraftError REPORT_NO_RUN, REPORT_INVALID, DISK_FULL, WRITE_FAILED
 */
export function writeReport(
  folders: readonly string[],
  output: string,
  { lines, ...source }: RunSource & { lines?: readonly string[] } = {},
): RunData[] {
  const names = distinctNames(folders);
  const runs = folders.map((folder, i) => ({ ...readRun(folder, source), name: names[i]! }));
  atomicWriteFile(output, runReport(runs, { lines }));
  return runs;
}

/** The last part of each path; with its parents if two runs have the same name. */
export function distinctNames(folders: readonly string[]): string[] {
  const paths = folders.map((folder) => resolve(folder));
  const short = paths.map((path) => basename(path));
  if (new Set(short).size === short.length) return short;
  const common = paths.map(dirname).reduce((a, b) => {
    let shared = a;
    while (relative(shared, b).startsWith('..')) shared = dirname(shared);
    return shared;
  });
  return paths.map((path) => relative(common, path) || basename(path));
}

/** Default location of the page: in the run, or next to the first of several. */
export function defaultOutput(folders: readonly string[]): string {
  const [first] = folders;
  if (first === undefined || folders.length > 1) return 'report.html';
  return join(first, REPORT_FILE);
}
