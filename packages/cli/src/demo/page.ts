import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { SUCCESS } from '@craft-ft/training';
import {
  chartGrid,
  type Html,
  html,
  lineChart,
  type Numbers,
  type RunData,
  readRun,
  renderPage,
  runCharts,
  type Section,
  successCharts,
  successTable,
  type Video,
  videoGallery,
} from '../report.js';
import { type PolicyResult, pooled, type SeedResult, verdictLines } from './outcomes.js';

const ABOUT =
  'One policy, told in words which bin: trained to put the cube into the red bin, then fine-tuned on the blue one in three ways.';
const TESTS =
  'Every policy is tested on the same starts, none of which it was trained on. Below a rate is its 95 % interval (Wilson).';

const PAGE = 'report.html';

type Row = Pick<PolicyResult, 'policy' | 'red' | 'blue'>;

function outcomes(rows: readonly Row[]): Html {
  const policies = rows.map(({ policy, red, blue }) => ({
    policy,
    outcomes: [red, blue].map(({ successes, episodes: trials }) => ({ successes, trials })),
  }));
  return html`${successTable(['asked for red', 'asked for blue'], policies)}<ul>${verdictLines(rows).map((line) => html`<li>${line}</li>`)}</ul>`;
}

/**
 * The page of one seed: table, videos, curves.
 *
 * @param base run on the old task; its last evaluation is the starting point of the others
 * @param runs folders of the fine-tunings
 */
export function writeSeedPage(result: SeedResult, base: string, runs: readonly string[], file: string): void {
  const start = successOf(readRun(base).log.at(-1)!);
  const read = runs.map((folder) => readRun(folder));
  const success = read.map(({ name, log }) => ({ name, log: [{ ...start, step: 0 }, ...log] }));
  const rest = read.map((run): RunData => ({ ...run, log: run.log.map(withoutSuccess) }));
  const charts = [...successCharts(success).map(lineChart), ...runCharts(rest)];
  const sections: Section[] = [
    { title: 'Success', body: html`${outcomes(result.policies)}<p>${TESTS}</p>` },
    ...gallery(result, 'red'),
    ...gallery(result, 'blue'),
    { title: 'Fine-tuning on blue', body: chartGrid(charts) },
  ];
  const title = 'Red, then blue: what is forgotten';
  atomicWriteFile(file, renderPage({ title, subtitle: `${ABOUT} Seed ${result.seed}.`, sections }));
}

/** The page of several seeds: the pooled results, then each seed with a link to its own page. */
export function writeSeedsPage(results: readonly SeedResult[], file: string): void {
  const all: Section = {
    title: `All ${results.length} seeds`,
    body: html`${outcomes(pooled(results))}<p>${TESTS}</p>`,
  };
  const each = results.map(
    ({ seed, policies }): Section => ({
      title: `Seed ${seed}`,
      body: html`${outcomes(policies)}<p><a href="${seedFolder(seed)}/${PAGE}">Curves and videos</a></p>`,
    }),
  );
  const title = 'Red, then blue: what is forgotten';
  atomicWriteFile(file, renderPage({ title, subtitle: ABOUT, sections: [all, ...each] }));
}

function gallery({ policies }: SeedResult, color: 'red' | 'blue'): Section[] {
  const videos = policies.flatMap(({ policy, videos: files }): Video[] => {
    const path = files[color];
    return path === null ? [] : [{ title: policy, detail: `asked for ${color}`, bytes: readFileSync(path) }];
  });
  return videos.length === 0
    ? []
    : [{ title: `The same start, asked for ${color}`, body: videoGallery(videos) }];
}

const isSuccess = ([name]: [string, number]) => name.startsWith(SUCCESS);

function successOf(row: Numbers): Record<string, number> {
  return Object.fromEntries(Object.entries(row).filter(isSuccess));
}

function withoutSuccess(row: Numbers): Numbers {
  return Object.fromEntries(Object.entries(row).filter((entry) => !isSuccess(entry)));
}

/** Folder of one of several seeds. */
export const seedFolder = (seed: number): string => `seed-${seed}`;

/** Path of the page in a folder. */
export const pageIn = (folder: string): string => join(folder, PAGE);
